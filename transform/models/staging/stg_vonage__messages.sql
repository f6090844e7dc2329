-- Generated from tap_vonage_reports/schemas/messages.json by `python -m tests.transform.staging`.
{{ config(enabled = 'messages' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'message_id': 'text',
    'client_ref': 'text',
    'direction': 'text',
    'from': 'text',
    'to': 'text',
    'message_body': 'text',
    'country': 'text',
    'country_name': 'text',
    'provider': 'text',
    'provider_error_code': 'text',
    'network': 'text',
    'network_name': 'text',
    'session_type': 'text',
    'session_id': 'text',
    'date_received': 'timestamp',
    'date_finalized': 'timestamp',
    'latency': 'integer',
    'status': 'text',
    'error_code': 'text',
    'currency': 'text',
    'estimated_price': 'money',
    'total_price': 'money',
    'workflow_id': 'text',
    'workflow_items_number': 'integer',
    'workflow_items_total': 'integer',
    'pricing_model': 'text',
    'pricing_type': 'text',
    'id': 'text',
    'tier_volume': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('messages', 'id', columns) }}
