-- Generated from tap_vonage_reports/schemas/voice_tts.json by `python -m tests.transform.staging`.
{{ config(enabled = 'voice_tts' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'from': 'text',
    'to': 'text',
    'status': 'text',
    'trace_id': 'text',
    'premium': 'text',
    'language': 'text',
    'style': 'text',
    'length': 'integer',
    'size': 'integer',
    'start_time': 'timestamp',
    'end_time': 'timestamp',
    'duration': 'integer',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'tts_type': 'text',
    'tts_level': 'text',
    'call_id': 'text',
    'conversation_id': 'text',
    'creation_date': 'timestamp',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('voice_tts', 'id', columns) }}
