{#- One row per profile that was scored: how likely the player is to stay away, among which tenth of
    the game's players of that day, and what their week was like. A day of a game is formed anew
    when one of its scores is new. -#}
{{
    config(
        unique_key = ['profile_date', 'game_id', 'player_id'],
        prune_by = 'profile_date',
        clustered_by = ['profile_date', 'player_id']
    )
}}
{%- set scores_of_players = source('bronze_ml', 'scores_player_churn') %}

with

scores as (

    select *
    from {{ scores_of_players }}
    where {{ is_near_news(scores_of_players, 'profile_date', 0) }}

),

days_with_news as (

    select distinct
        game_id,
        profile_date
    from scores
    where {{ is_new('_batch_id') }}

),

ranked_scores as (

    select
        scores.profile_date,
        scores.game_id,
        scores.player_id,
        scores.score,
        scores.model_version,
        ntile(10) over (
            partition by scores.game_id, scores.profile_date
            order by scores.score desc, scores.player_id asc
        ) as risk_decile,
        scores._batch_id
    from scores
    left semi join days_with_news
        on
            scores.game_id = days_with_news.game_id
            and scores.profile_date = days_with_news.profile_date

),

profiles as (

    select
        profile_date,
        game_id,
        player_id,
        days_since_played,
        crashes_7,
        payments_failed_7,
        level_failure_share_7,
        matchmaking_wait_s_7,
        offer_refusal_share_7,
        active_days_7_before - active_days_7 as active_days_lost
    from {{ ref('player_profile') }}
    where {{ is_near_news(scores_of_players, 'profile_date', 0) }}

),

figures as (

    select
        profile_date,
        game_id,
        player_id,
        explode(array(
            named_struct('metric', 'crashes_7', 'value', cast(crashes_7 as double)),
            named_struct('metric', 'payments_failed_7', 'value', cast(payments_failed_7 as double)),
            named_struct('metric', 'level_failure_share_7', 'value', level_failure_share_7),
            named_struct('metric', 'matchmaking_wait_s_7', 'value', matchmaking_wait_s_7),
            named_struct('metric', 'offer_refusal_share_7', 'value', offer_refusal_share_7),
            named_struct('metric', 'active_days_lost', 'value', cast(active_days_lost as double)),
            named_struct('metric', 'days_since_played', 'value', cast(days_since_played as double))
        )) as figure
    from profiles

),

reasons as (

    select
        figures.profile_date,
        figures.game_id,
        figures.player_id,
        bool_or(churn_reasons.is_mendable) as is_any_mendable,
        array_sort(collect_list(named_struct(
            'place', churn_reasons.place,
            'reason', churn_reasons.reason,
            'value', figures.figure.value
        ))) as in_order
    from figures
    inner join {{ ref('churn_reasons') }} as churn_reasons
        on
            figures.figure.metric = churn_reasons.metric
            and figures.figure.value >= churn_reasons.at_least
    group by figures.profile_date, figures.game_id, figures.player_id

),

players_at_risk as (

    select
        ranked_scores.profile_date,
        ranked_scores.game_id,
        ranked_scores.player_id,
        ranked_scores.score,
        ranked_scores.risk_decile,
        coalesce(
            transform(
                reasons.in_order, each -> named_struct('reason', each.reason, 'value', each.value)
            ),
            array()
        ) as reasons,
        coalesce(reasons.is_any_mendable, false) and profiles.days_since_played <= 3 as is_savable,
        profiles.days_since_played,
        ranked_scores.model_version,
        ranked_scores._batch_id
    from ranked_scores
    inner join profiles
        on
            ranked_scores.profile_date = profiles.profile_date
            and ranked_scores.game_id = profiles.game_id
            and ranked_scores.player_id = profiles.player_id
    left outer join reasons
        on
            ranked_scores.profile_date = reasons.profile_date
            and ranked_scores.game_id = reasons.game_id
            and ranked_scores.player_id = reasons.player_id

)

select * from players_at_risk
