-- Generated from tap_vonage_reports/schemas/in_app_voice.json by `python -m tests.transform.staging`.
{{ config(enabled = 'in_app_voice' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'application_id': 'text',
    'conversation_id': 'text',
    'user_id': 'text',
    'leg_id': 'text',
    'client_ref': 'text',
    'date_start': 'timestamp',
    'date_end': 'timestamp',
    'duration': 'integer',
    'status': 'text',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('in_app_voice', 'id', columns) }}
