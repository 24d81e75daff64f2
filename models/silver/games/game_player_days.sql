{#- One row per player and day on which they played, formed anew whenever an event of that day
    arrives. A refund is no play: the store tells of it. -#}
{{
    config(
        unique_key = ['activity_date', 'game_id', 'player_id'],
        prune_by = 'activity_date',
        clustered_by = ['activity_date', 'player_id'],
        access = 'protected'
    )
}}
{%- set counts = {
    'levels_completed': "event_type = 'level_end' and signals.result = 'completed'",
    'levels_failed': "event_type = 'level_end' and signals.result = 'failed'",
    'levels_quit': "event_type = 'level_end' and signals.result = 'quit'",
    'matches': "event_type = 'match_start'",
    'matchmakings': "event_type = 'matchmaking_result'",
    'offers_shown': "event_type = 'offer_shown'",
    'offers_refused': "event_type = 'offer_result' and signals.result = 'dismissed'",
    'purchases': "event_type = 'iap_purchase'",
    'payments_failed': "event_type = 'iap_failed'",
    'ads': "event_type = 'ad_impression'",
    'crashes': "event_type = 'client_error' and signals.severity = 'crash'",
} %}

with

events as (

    select *
    from {{ ref('game_events') }}
    where
        player_id is not null
        and event_type <> 'iap_refund'

),

days_with_news as (

    select distinct
        game_id,
        player_id,
        happened_on
    from events
    where {{ is_new('_batch_id') }}

),

events_to_read as (

    select events.*
    from events
    left semi join days_with_news
        on
            events.game_id = days_with_news.game_id
            and events.player_id = days_with_news.player_id
            and events.happened_on = days_with_news.happened_on
    where {{ is_near_news('game_events', 'happened_on', 0) }}

),

game_player_days as (

    select
        happened_on as activity_date,
        game_id,
        player_id,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        count(distinct session_id) as sessions,
        count(*) as events,
        {%- for name, condition in counts.items() %}
        count_if({{ condition }}) as {{ name }},
        {%- endfor %}
        coalesce(sum(signals.wait_s) filter (where event_type = 'matchmaking_result'), 0)
            as waited_s,
        min(case when event_type = 'player_registered' then event_at end) as registered_at,
        min_by(platform, struct(event_at, event_id)) as platform,
        min_by(country, struct(event_at, event_id)) as country,
        max(_batch_id) as _batch_id
    from events_to_read
    group by happened_on, game_id, player_id

)

select * from game_player_days
