"""Records: rows of JSON and CSV, parsed to the types of the schema, with personal data kept, hashed or dropped."""
