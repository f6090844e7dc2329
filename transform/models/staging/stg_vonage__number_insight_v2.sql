-- Generated from tap_vonage_reports/schemas/number_insight_v2.json by `python -m tests.transform.staging`.
{{ config(enabled = 'number_insight_v2' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'request_type': 'text',
    'date_received': 'timestamp',
    'status': 'text',
    'response_code': 'text',
    'response_description': 'text',
    'network_type': 'text',
    'network_name': 'text',
    'risk': 'text',
    'risk_score': 'integer',
    'swapped': 'boolean',
    'no_sim_change_period': 'text',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('number_insight_v2', 'id', columns) }}
