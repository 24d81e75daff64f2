{#- One row per player and day on which they played, formed anew whenever an event of that day
    arrives, or leaves it. A refund is no play: the store tells of it. -#}
{{
    config(
        unique_key = ['activity_date', 'game_id', 'player_id'],
        prune_by = 'activity_date',
        rewrites = ['activity_date', 'game_id', 'player_id'],
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

    select
        game_id,
        player_id,
        happened_on
    from events
    where {{ is_new('_batch_id') }}

    union distinct

    select
        game_id,
        player_id,
        cast(left_at as date) as happened_on
    from {{ ref('game_moves') }}
    where is_play and {{ has_moved('_batch_id') }}

),

events_to_read as (

    select *
    from events
    where {{ is_near_moving_news('game_events', 0) }}

),

-- one without a batch where nothing is left of a day
events_of_days as (

    select
        days_with_news.game_id,
        days_with_news.player_id,
        days_with_news.happened_on,
        events_to_read.event_id,
        events_to_read.event_type,
        events_to_read.event_at,
        events_to_read.session_id,
        events_to_read.platform,
        events_to_read.country,
        events_to_read.signals,
        events_to_read._batch_id
    from days_with_news
    left outer join events_to_read
        on
            days_with_news.game_id = events_to_read.game_id
            and days_with_news.player_id = events_to_read.player_id
            and days_with_news.happened_on = events_to_read.happened_on

),

game_player_days as (

    select
        happened_on as activity_date,
        game_id,
        player_id,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        count(distinct session_id) as sessions,
        count(event_id) as events,
        {%- for name, condition in counts.items() %}
        count_if({{ condition }}) as {{ name }},
        {%- endfor %}
        coalesce(sum(signals.wait_s) filter (where event_type = 'matchmaking_result'), 0)
            as waited_s,
        min(case when event_type = 'player_registered' then event_at end) as registered_at,
        min_by(platform, struct(event_at, event_id)) as platform,
        min_by(country, struct(event_at, event_id)) as country,
        max(_batch_id) as _batch_id
    from events_of_days
    group by happened_on, game_id, player_id

)

select * from game_player_days
