-- Generated from tap_vonage_reports/schemas/number_insight.json by `python -m tests.transform.staging`.
{{ config(enabled = 'number_insight' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'product_type': 'text',
    'number': 'text',
    'date_received': 'timestamp',
    'status': 'text',
    'response_code': 'text',
    'network': 'text',
    'network_name': 'text',
    'network_type': 'text',
    'country': 'text',
    'country_name': 'text',
    'valid': 'text',
    'ported': 'text',
    'reachable': 'text',
    'first_name': 'text',
    'last_name': 'text',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('number_insight', 'id', columns) }}
