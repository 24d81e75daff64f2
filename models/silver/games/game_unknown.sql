{#- One row per bronze record of an event whose type or version the contract does not know, with
    what it says it is. A view: when the contract learns the type, its events are those that come
    from then on; these stay countable here. -#}
{{ config(materialized = 'view') }}

with

events_delivered as (

    select data, _bucket, _key, _version, _ordinal, _modified_at, _batch_id, _ingested_at
    from {{ source('bronze_games', 'game_unknown') }}

),

records as (

    select
        *,
        from_json(data, '{{ game_envelope_type() }}') as record
    from events_delivered

),

game_unknown as (

    select
        _bucket,
        _key,
        _version,
        _ordinal,
        record.event_type,
        record.event_version,
        case
            when record.event_type is null then 'missing_type'
            when
                record.event_type not in (
                    {%- for event_type in game_event_types() %}
                    '{{ event_type }}'{{ ',' if not loop.last }}
                    {%- endfor %}
                )
                then 'unknown_type'
            else 'unknown_version'
        end as reason,
        concat_ws('/', record.studio_id, record.application_id) as game_id,
        record.app_version,
        data,
        _modified_at,
        _batch_id,
        _ingested_at
    from records

)

select * from game_unknown
