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
        min(case when event_type = 'player_registered' then event_at end) as registered_at,
        min_by(platform, struct(event_at, event_id)) as platform,
        min_by(country, struct(event_at, event_id)) as country,
        max(_batch_id) as _batch_id
    from events_to_read
    group by happened_on, game_id, player_id

)

select * from game_player_days
