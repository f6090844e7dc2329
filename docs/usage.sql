-- All products in one view. Delete the parts of streams that you do not load.
create or replace view vonage.usage as
select 'SMS' as product, id, account_id, date_received as started_at,
    direction, status, country,
    network_name, cast(null as text) as channel, nullif(error_code, '0') as error_code,
    latency as latency_ms,
    1 as quantity, 'message part' as unit,
    total_price, currency
from vonage.sms
union all
select 'SMS-TRAFFIC-CONTROL' as product, id, account_id, queued_time as started_at,
    cast(null as text) as direction, status, cast(null as text) as country,
    cast(null as text) as network_name, cast(null as text) as channel, cast(null as text) as error_code,
    queue_duration as latency_ms,
    1 as quantity, 'event' as unit,
    cast(null as numeric) as total_price, cast(null as text) as currency
from vonage.sms_traffic_control
union all
select 'MESSAGES' as product, id, account_id, date_received as started_at,
    direction, status, country,
    network_name, provider as channel, coalesce(error_code, provider_error_code) as error_code,
    latency as latency_ms,
    1 as quantity, 'message' as unit,
    total_price, currency
from vonage.messages
union all
select 'VOICE-CALL' as product, id, account_id, date_start as started_at,
    direction, status, country,
    network_name, cast(null as text) as channel, nullif(status_code, '200') as error_code,
    cast(null as bigint) as latency_ms,
    duration as quantity, 'second' as unit,
    total_price, currency
from vonage.voice_call
union all
select 'VOICE-FAILED' as product, id, account_id, date_start as started_at,
    direction, status, country,
    network_name, cast(null as text) as channel, status_code as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'call' as unit,
    cast(null as numeric) as total_price, cast(null as text) as currency
from vonage.voice_failed
union all
select 'IN-APP-VOICE' as product, id, account_id, date_start as started_at,
    cast(null as text) as direction, status, cast(null as text) as country,
    cast(null as text) as network_name, cast(null as text) as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    duration as quantity, 'second' as unit,
    total_price, currency
from vonage.in_app_voice
union all
select 'WEBSOCKET-CALL' as product, id, account_id, date_start as started_at,
    cast(null as text) as direction, status, cast(null as text) as country,
    cast(null as text) as network_name, cast(null as text) as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    duration as quantity, 'second' as unit,
    total_price, currency
from vonage.websocket_call
union all
select 'VOICE-TTS' as product, id, account_id, creation_date as started_at,
    cast(null as text) as direction, status, cast(null as text) as country,
    cast(null as text) as network_name, tts_type as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'event' as unit,
    total_price, currency
from vonage.voice_tts
union all
select 'ASR' as product, id, account_id, date_start as started_at,
    direction, status, cast(null as text) as country,
    cast(null as text) as network_name, asr_type as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'event' as unit,
    total_price, currency
from vonage.asr
union all
select 'AMD' as product, id, account_id, start_time as started_at,
    cast(null as text) as direction, cast(null as text) as status, cast(null as text) as country,
    cast(null as text) as network_name, cast(null as text) as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'event' as unit,
    total_price, currency
from vonage.amd
union all
select 'VERIFY-API' as product, id, account_id, date_received as started_at,
    cast(null as text) as direction, status, country,
    network_name, cast(null as text) as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'check' as unit,
    price as total_price, currency
from vonage.verify_api
union all
select 'VERIFY-V2' as product, id, account_id, date_received as started_at,
    cast(null as text) as direction, status, country,
    network_name, channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'check' as unit,
    total_price, currency
from vonage.verify_v2
union all
select 'NUMBER-INSIGHT' as product, id, account_id, date_received as started_at,
    cast(null as text) as direction, status, country,
    network_name, product_type as channel, nullif(response_code, '0') as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'check' as unit,
    total_price, currency
from vonage.number_insight
union all
select 'NETWORK-API-EVENT' as product, id, account_id, event_time as started_at,
    cast(null as text) as direction, status, country_code as country,
    cast(null as text) as network_name, product_name as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'check' as unit,
    total_price, currency
from vonage.network_api_event
union all
select 'CONVERSATION-EVENT' as product, id, account_id, creation_date as started_at,
    cast(null as text) as direction, cast(null as text) as status, cast(null as text) as country,
    cast(null as text) as network_name, cast(null as text) as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'event' as unit,
    total_price, currency
from vonage.conversation_event
union all
select 'CONVERSATION-MESSAGE' as product, id, account_id, creation_date as started_at,
    cast(null as text) as direction, cast(null as text) as status, cast(null as text) as country,
    cast(null as text) as network_name, from_channel as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    1 as quantity, 'event' as unit,
    total_price, currency
from vonage.conversation_message
union all
select 'VIDEO-API' as product, id, account_id, date_start as started_at,
    cast(null as text) as direction, cast(null as text) as status, cast(null as text) as country,
    cast(null as text) as network_name, feature_name as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    duration as quantity, 'second' as unit,
    total_price, currency
from vonage.video_api
union all
select 'REPORTS-USAGE' as product, id, account_id, date_received as started_at,
    cast(null as text) as direction, status, cast(null as text) as country,
    cast(null as text) as network_name, job_type as channel, cast(null as text) as error_code,
    cast(null as bigint) as latency_ms,
    items_written as quantity, 'row' as unit,
    case when is_charged then total_price else 0 end as total_price, currency
from vonage.reports_usage;
