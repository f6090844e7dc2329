-- Generated from tap_vonage_reports/schemas/voice_failed.json by `python -m tests.transform.staging`.
{{ config(enabled = 'voice_failed' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'call_id': 'text',
    'direction': 'text',
    'from': 'text',
    'to': 'text',
    'network': 'text',
    'network_name': 'text',
    'country': 'text',
    'country_name': 'text',
    'date_start': 'timestamp',
    'date_end': 'timestamp',
    'status': 'text',
    'status_code': 'text',
    'status_description': 'text',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('voice_failed', 'id', columns) }}
