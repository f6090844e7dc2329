"""The dbt project on top of the loaded tables, and the page of charts from its marts (`transform.page`)."""
