-- Generated from tap_vonage_reports/schemas/accounts.json by `python -m tests.transform.staging`.
{{ config(enabled = 'accounts' in var('vonage_streams')) }}

{% set columns = {
    'api_key': 'text',
    'name': 'text',
    'primary_account_api_key': 'text',
    'use_primary_account_balance': 'boolean',
    'suspended': 'boolean',
    'created_at': 'timestamp',
    'balance': 'money',
    'credit_limit': 'money',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('accounts', 'api_key', columns) }}
