-- Generated from tap_vonage_reports/schemas/conversation_message.json by `python -m tests.transform.staging`.
{{ config(enabled = 'conversation_message' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'trace_id': 'text',
    'application_id': 'text',
    'conversation_id': 'text',
    'other_ids': 'text',
    'from_member_id': 'text',
    'from_user_id': 'text',
    'from_channel': 'text',
    'from_message_id': 'text',
    'client_ref': 'text',
    'creation_date': 'timestamp',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('conversation_message', 'id', columns) }}
