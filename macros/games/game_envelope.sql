{#- The columns that every game event has, out of `record`, the envelope as text. `event_at` is
    when it happened: by the sender's clock, put right by what the clock said on sending and the
    ingest service's on taking the event, where these are further apart than a transfer takes. -#}
{%- macro game_envelope() -%}
    {%- set client_at = game_timestamp('record.event_timestamp') -%}
    {%- set sent_at = game_timestamp('record.sent_timestamp') -%}
    {%- set received_at -%}
        coalesce({{ game_timestamp('record.ingest_ts') }}, _modified_at)
    {%- endset -%}
        coalesce(lower(record.event_id), md5(data)) as event_id,
        concat_ws('/', record.studio_id, record.application_id) as game_id,
        record.player_id,
        record.session_id,
        record.event_name,
        try_cast(record.event_version as bigint) as event_version,
        record.app_version,
        record.platform,
        record.country,
        record.server_id,
        {{ client_at }} as client_at,
        {{ sent_at }} as sent_at,
        {{ received_at }} as received_at,
        -- of every delivery the same, so that it can be part of the key
        cast(coalesce({{ client_at }}, {{ received_at }}) as date) as event_date,
        coalesce(
            abs(timestampdiff(second, {{ sent_at }}, {{ received_at }})),
            timestampdiff(second, {{ received_at }}, {{ client_at }})
        ) > {{ var('game_clock_tolerance_seconds') }} as is_clock_wrong
{%- endmacro -%}
