{#- Config and query of a silver model of one type of event. Of several deliveries the one that the
    ingest service took first counts: a sender that repeats an event does not say anew when it
    sends it.

    fields: those of its data as the contract has them: `name`, `type`, and where they apply
    `column` (what it is called), `required_from` (version), `values` (those known). -#}
{%- macro typed_game_events(event_type, fields, has_player=true) -%}
    {%- set key = ['event_date', 'game_id', 'event_id'] -%}
    {%- set texts = [] -%}
    {%- for field in fields -%}
        {%- do texts.append(field.name ~ ': string') -%}
    {%- endfor -%}
    {%- set order = ['received_at', '_modified_at', '_bucket', '_key', '_version', '_ordinal'] -%}
{{-
    config(
        unique_key = key,
        prune_by = 'event_date',
        earliest_by = order,
        former = {'moved_from': 'event_at'},
        clustered_by = ['event_date', 'player_id' if has_player else 'server_id']
    )
-}}
with

events_delivered as (

    select *
    from {{ source('bronze_games', 'game_' ~ event_type) }}
    where {{ is_new('_batch_id') }}

),

records as (

    select
        *,
        from_json(
            data,
            '{{ game_envelope_type() }}, event_data struct<{{ texts | join(", ") }}>'
        ) as record
    from events_delivered

),

typed as (

    select
        {{ game_envelope() }},
        {%- for field in fields %}
        {{ game_value('record.event_data.' ~ field.name, field.type) }}
            as {{ field.column or field.name }},
        {%- endfor %}
        record,
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

game_{{ event_type }} as (

    select
        event_date,
        game_id,
        event_id,
        event_at,
        cast(event_at as date) as happened_on,
        player_id,
        session_id,
        {%- for field in fields %}
        {{ field.column or field.name }},
        {%- endfor %}
        event_name,
        event_version,
        app_version,
        platform,
        country,
        server_id,
        client_at,
        sent_at,
        received_at,
        array_compact(array(
            case when record.event_id is null then 'missing_event_id' end,
            case when game_id = '' then 'missing_game' end,
            {%- if has_player %}
            case when player_id is null then 'missing_player' end,
            {%- endif %}
            {%- for field in fields %}
            {%- set column = field.column or field.name %}
            case
                when {{ column }} is not null then
                    {% if field.get('values') -%}
                    case
                        when {{ column }} not in ('{{ field.get('values') | join("', '") }}')
                            then 'new_{{ column }}'
                    end
                    {%- else -%}
                    null
                    {%- endif %}
                when record.event_data.{{ field.name }} is not null then 'unreadable_{{ column }}'
                {%- if field.required_from %}
                when event_version >= {{ field.required_from }} then 'missing_{{ column }}'
                {%- endif %}
            end,
            {%- endfor %}
            case when client_at is null then 'missing_timestamp' end,
            case when is_clock_wrong then 'clock_wrong' end
        )) as flags,
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

select * from game_{{ event_type }}
{%- endmacro -%}
