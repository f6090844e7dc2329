-- Generated from tap_vonage_reports/schemas/network_api_event.json by `python -m tests.transform.staging`.
{{ config(enabled = 'network_api_event' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'application_id': 'text',
    'record_creation_time': 'timestamp',
    'product_name': 'text',
    'status': 'text',
    'network': 'text',
    'country_code': 'text',
    'msisdn': 'text',
    'event_time': 'timestamp',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    'request_type': 'text',
    'response_result': 'text',
    'request_session_id': 'text',
    'product_path': 'text',
    'correlation_id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('network_api_event', 'id', columns) }}
