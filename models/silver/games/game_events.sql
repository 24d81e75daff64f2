{#- One row per game event of any type: what happened, when, to whom. Read from all tables of bronze
    at once, up to the last batch that the ledger has: of that batch every table has its rows, so
    that one cursor does for all of them. -#}
{%- set key = ['event_date', 'game_id', 'event_id'] -%}
{%- set order = ['received_at', '_modified_at', '_bucket', '_key', '_version', '_ordinal'] -%}
{{
    config(
        unique_key = key,
        prune_by = 'event_date',
        earliest_by = order,
        former = {'moved_from': 'event_at'},
        clustered_by = ['event_date', 'player_id']
    )
}}
{%- set is_new_batch = is_new('_batch_id') %}
{#- what live operations watch: fields of event_data and their types -#}
{%- set signals = {
    'amount': 'integer',
    'amount_minor': 'integer',
    'ccu': 'integer',
    'config_version': 'string',
    'currency': 'string',
    'level_id': 'string',
    'offer_name': 'string',
    'price_minor': 'integer',
    'reason': 'string',
    'receipt_valid': 'boolean',
    'result': 'string',
    'severity': 'string',
    'sku': 'string',
    'wait_s': 'number',
} %}

with

batches as (

    select coalesce(max(batch_id), -1) as last_batch_id
    from {{ source('bronze_loaders', 'ledger') }}
    where feed = 'game_events'

),

events_delivered as (

    {%- for event_type in game_event_types() %}
    select
        '{{ event_type }}' as event_type,
        data,
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal,
        _batch_id
    from {{ source('bronze_games', 'game_' ~ event_type) }}
    where {{ is_new_batch }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}

),

events_complete as (

    select events_delivered.*
    from events_delivered
    cross join batches
    where events_delivered._batch_id <= batches.last_batch_id

),

records as (

    select
        *,
        from_json(
            data,
            '{{ game_envelope_type() }},
            event_data struct<{{ signals | join(": string, ") }}: string>'
        ) as record
    from events_complete

),

typed as (

    select
        {{ game_envelope() }},
        event_type,
        named_struct(
            {%- for field, type in signals.items() %}
            '{{ field }}', {{ game_value('record.event_data.' ~ field, type) }}
            {{- ',' if not loop.last }}
            {%- endfor %}
        ) as signals,
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal,
        _batch_id
    from records

),

dated as (

    select
        *,
        {{ game_event_at() }} as event_at
    from typed

),

ranked_deliveries as (

    select
        *,
        max(_batch_id) over (partition by {{ key | join(', ') }}) as _newest_batch_id,
        row_number() over (
            partition by {{ key | join(', ') }} order by {{ order | join(', ') }}
        ) as delivery_rank
    from dated

),

game_events as (

    select
        event_date,
        game_id,
        event_id,
        event_type,
        event_at,
        cast(event_at as date) as happened_on,
        player_id,
        session_id,
        app_version,
        platform,
        country,
        server_id,
        received_at,
        coalesce(is_clock_wrong, false) as is_clock_wrong,
        signals,
        cast(null as array<timestamp>) as moved_from,
        _modified_at,
        _bucket,
        _key,
        _version,
        _ordinal,
        _newest_batch_id as _batch_id
    from ranked_deliveries
    where delivery_rank = 1

)

select * from game_events
