-- Generated from tap_vonage_reports/schemas/sms.json by `python -m tests.transform.staging`.
{{ config(enabled = 'sms' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'message_id': 'text',
    'account_ref': 'text',
    'client_ref': 'text',
    'direction': 'text',
    'from': 'text',
    'to': 'text',
    'forced_from': 'text',
    'changed_from': 'text',
    'concatenated': 'boolean',
    'message_body': 'text',
    'network': 'text',
    'network_name': 'text',
    'country': 'text',
    'country_name': 'text',
    'date_received': 'timestamp',
    'date_finalized': 'timestamp',
    'latency': 'integer',
    'status': 'text',
    'error_code': 'text',
    'error_code_description': 'text',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    'dcs': 'text',
    'validity_period': 'text',
    'ip_address': 'text',
    'udh': 'text',
    'workflow_id': 'text',
    'tier_volume': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('sms', 'id', columns) }}
