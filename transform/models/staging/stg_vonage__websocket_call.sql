-- Generated from tap_vonage_reports/schemas/websocket_call.json by `python -m tests.transform.staging`.
{{ config(enabled = 'websocket_call' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'call_id': 'text',
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

{{ vonage_reports.current_rows('websocket_call', 'id', columns) }}
