{#- One row per version and day whose outcome is known, after all that the version has learned from:
    what was foretold of players, and what came. -#}
{{ config(materialized = 'view') }}

with

scores as (

    select
        scores.profile_date,
        scores.game_id,
        scores.player_id,
        scores.score,
        scores.model_version
    from {{ source('bronze_ml', 'scores_player_churn') }} as scores
    inner join {{ source('bronze_ml', 'model_versions') }} as versions
        on
            versions.model = 'player_churn'
            and scores.model_version = versions.model_version
            and scores.profile_date > versions.learned_until

),

player_days as (

    select
        game_id,
        player_id,
        activity_date
    from {{ ref('game_player_days') }}

),

newest_days as (

    select
        game_id,
        max(activity_date) as newest_date
    from player_days
    group by game_id

),

scores_with_outcome as (

    select scores.*
    from scores
    inner join newest_days
        on
            scores.game_id = newest_days.game_id
            and date_add(scores.profile_date, 14) < newest_days.newest_date

),

returns as (

    select distinct
        scores_with_outcome.profile_date,
        scores_with_outcome.game_id,
        scores_with_outcome.player_id
    from scores_with_outcome
    inner join player_days
        on
            scores_with_outcome.game_id = player_days.game_id
            and scores_with_outcome.player_id = player_days.player_id
            and scores_with_outcome.profile_date < player_days.activity_date
            and date_add(scores_with_outcome.profile_date, 14) >= player_days.activity_date

),

player_churn_calibration as (

    select
        scores_with_outcome.profile_date,
        scores_with_outcome.model_version,
        count(*) as profiles,
        avg(scores_with_outcome.score) as foretold,
        count_if(returns.player_id is null) / count(*) as came
    from scores_with_outcome
    left outer join returns
        on
            scores_with_outcome.profile_date = returns.profile_date
            and scores_with_outcome.game_id = returns.game_id
            and scores_with_outcome.player_id = returns.player_id
    group by scores_with_outcome.profile_date, scores_with_outcome.model_version

)

select * from player_churn_calibration
