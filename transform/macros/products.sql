{#- The products, one line each: where the columns of the usage fact come from. Values are SQL on the staging view; a
    column that is not named is null. `at` is the time that the API's date filter selects on, `link` the identifier
    that ties rows of different products together. -#}
{%- macro products() -%}
{%- set priced = {'total_price': 'total_price', 'currency': 'currency'} -%}
{%- set placed = {'country': 'country', 'network': 'network', 'network_name': 'network_name', 'status': 'status'} -%}
{%- set both = dict(priced, **placed) -%}
{%- set lasting = dict(priced, finalized_at='date_end', quantity='duration', unit='second') -%}
{%- set call = dict(placed, **lasting) -%}
{%- set lines = [
  dict(both, stream='sms', product='SMS', at='date_received', finalized_at='date_finalized', direction='direction', client_ref='client_ref', account_ref='account_ref', error_code="nullif(error_code, '0')", latency_ms='latency', unit='message part', link='message_id'),
  dict(stream='sms_traffic_control', product='SMS-TRAFFIC-CONTROL', at='queued_time', status='status', latency_ms='queue_duration', unit='event', link='message_id'),
  dict(both, stream='messages', product='MESSAGES', at='date_received', finalized_at='date_finalized', direction='direction', channel='provider', client_ref='client_ref', error_code='coalesce(error_code, provider_error_code)', latency_ms='latency', unit='message', link='message_id'),
  dict(call, stream='voice_call', product='VOICE-CALL', at='date_start', direction='direction', error_code="nullif(status_code, '200')", unit_price='price', link='call_id'),
  dict(placed, stream='voice_failed', product='VOICE-FAILED', at='date_start', finalized_at='date_end', direction='direction', error_code='status_code', unit='call', link='call_id'),
  dict(lasting, stream='in_app_voice', product='IN-APP-VOICE', at='date_start', status='status', client_ref='client_ref', unit_price='price', link='leg_id'),
  dict(lasting, stream='websocket_call', product='WEBSOCKET-CALL', at='date_start', status='status', unit_price='price', link='call_id'),
  dict(priced, stream='voice_tts', product='VOICE-TTS', at='creation_date', finalized_at='end_time', status='status', channel='tts_type', unit='event', unit_price='price', link='call_id'),
  dict(priced, stream='asr', product='ASR', at='date_start', finalized_at='date_end', direction='direction', status='status', channel='asr_type', unit='event', unit_price='price', link='call_id'),
  dict(priced, stream='amd', product='AMD', at='start_time', finalized_at='end_time', unit='event', link='call_id'),
  dict(placed, stream='verify_api', product='VERIFY-API', at='date_received', finalized_at='date_finalized', unit='check', total_price='price', currency='currency', link='request_id'),
  dict(both, stream='verify_v2', product='VERIFY-V2', at='date_received', channel='channel', client_ref='client_ref', unit='check', link='request_id'),
  dict(both, stream='number_insight', product='NUMBER-INSIGHT', at='date_received', channel='product_type', error_code="nullif(response_code, '0')", unit='check', link='request_id'),
  dict(priced, stream='number_insight_v2', product='NUMBER-INSIGHT-V2', at='date_received', status='status', channel='request_type', error_code="nullif(response_code, '200')", network_name='network_name', unit='check', link='request_id'),
  dict(priced, stream='network_api_event', product='NETWORK-API-EVENT', at='event_time', status='status', channel='product_name', country='country_code', network='network', unit='check', link='correlation_id'),
  dict(priced, stream='conversation_event', product='CONVERSATION-EVENT', at='creation_date', client_ref='client_ref', unit='event', unit_price='price', link='request_id'),
  dict(priced, stream='conversation_message', product='CONVERSATION-MESSAGE', at='creation_date', channel='from_channel', client_ref='client_ref', unit='event', unit_price='price', link='trace_id'),
  dict(lasting, stream='video_api', product='VIDEO-API', at='date_start', channel='feature_name', link='session_id'),
  dict(stream='reports_usage', product='REPORTS-USAGE', at='date_received', finalized_at='date_finished', status='status', channel='job_type', quantity='items_written', unit='row', unit_price='price', total_price='case when is_charged then total_price else 0 end', currency='currency'),
] -%}
{{ return(lines) }}
{%- endmacro -%}

{#- The products whose streams are loaded. -#}
{%- macro loaded_products() -%}
{{ return(vonage_reports.products() | selectattr('stream', 'in', var('vonage_streams')) | list) }}
{%- endmacro -%}

{#- The columns of the usage fact that a product's line fills, with their types. -#}
{%- macro usage_columns() -%}
{{ return({
  'finalized_at': 'timestamp', 'direction': 'text', 'status': 'text', 'country': 'text', 'network': 'text',
  'network_name': 'text', 'channel': 'text', 'client_ref': 'text', 'account_ref': 'text', 'error_code': 'text',
  'link': 'text', 'latency_ms': 'integer', 'unit_price': 'money', 'total_price': 'money', 'currency': 'text',
}) }}
{%- endmacro -%}
