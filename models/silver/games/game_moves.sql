{#- One row per event and time at which it once was, before a delivery that was taken earlier came
    and told of another time: what counted it there has to be formed anew. -#}
{{ config(materialized = 'view', access = 'protected') }}

with

events as (

    select *
    from {{ ref('game_events') }}
    where moved_from is not null

),

game_moves as (

    select
        event_date,
        game_id,
        event_id,
        player_id,
        -- as game_player_days has it
        player_id is not null and event_type <> 'iap_refund' as is_play,
        event_at,
        happened_on,
        explode(moved_from) as left_at,
        _batch_id
    from events

)

select * from game_moves
