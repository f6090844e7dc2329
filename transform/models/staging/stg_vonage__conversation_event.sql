-- Generated from tap_vonage_reports/schemas/conversation_event.json by `python -m tests.transform.staging`.
{{ config(enabled = 'conversation_event' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'application_id': 'text',
    'conversation_id': 'text',
    'user_id': 'text',
    'client_ref': 'text',
    'creation_date': 'timestamp',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('conversation_event', 'id', columns) }}
