-- Generated from tap_vonage_reports/schemas/voice_call.json by `python -m tests.transform.staging`.
{{ config(enabled = 'voice_call' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'call_id': 'text',
    'direction': 'text',
    'from': 'text',
    'to': 'text',
    'forced_from': 'text',
    'network': 'text',
    'network_name': 'text',
    'country': 'text',
    'country_name': 'text',
    'date_start': 'timestamp',
    'date_end': 'timestamp',
    'duration': 'integer',
    'status': 'text',
    'status_description': 'text',
    'status_code': 'text',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'id': 'text',
    'tier_volume': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('voice_call', 'id', columns) }}
