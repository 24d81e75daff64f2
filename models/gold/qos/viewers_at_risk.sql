{#- One row per profile of a person that was scored: how likely the viewer is to stay away, among
    which tenth of the viewers of that day, and how the week before went. A day is formed anew when
    one of its scores is new. -#}
{{
    config(
        unique_key = ['profile_date', 'user_id'],
        prune_by = 'profile_date',
        clustered_by = ['profile_date', 'user_id']
    )
}}
{%- set scores_of_viewers = source('bronze_ml', 'scores_viewer_churn') %}
{%- set figures = [
    'playback_failure_share_7', 'start_failure_share_7', 'last_attempt_failed',
    'sessions_with_3_stalls_7', 'rebuffering_share_7', 'slow_start_share_7',
    'watch_minutes_lost', 'days_since_seen',
] %}

with

scores as (

    select *
    from {{ scores_of_viewers }}
    where {{ is_near_news(scores_of_viewers, 'profile_date', 0) }}

),

days_with_news as (

    select distinct profile_date
    from scores
    where {{ is_new('_batch_id') }}

),

profiles as (

    select
        *,
        watch_minutes_7_before - watch_minutes_7 as watch_minutes_lost
    from {{ ref('viewer_profile') }}
    where
        not coalesce(is_bot, false)
        and {{ is_near_news(scores_of_viewers, 'profile_date', 0) }}

),

scored_profiles as (

    select
        profiles.*,
        scores.score,
        scores.model_version,
        scores._batch_id as scored_in
    from scores
    left semi join days_with_news
        on scores.profile_date = days_with_news.profile_date
    inner join profiles
        on
            scores.profile_date = profiles.profile_date
            and scores.user_id = profiles.user_id

),

ranked_profiles as (

    select
        *,
        ntile(10) over (
            partition by profile_date
            order by score desc, user_id asc
        ) as risk_decile
    from scored_profiles

),

figures_of_profiles as (

    select
        profile_date,
        user_id,
        stack(
            {{ figures | length }},
            {%- for name in figures %}
            '{{ name }}', cast({{ name }} as double){{ ',' if not loop.last }}
            {%- endfor %}
        ) as (metric, value)
    from ranked_profiles

),

reasons as (

    select
        figures_of_profiles.profile_date,
        figures_of_profiles.user_id,
        bool_or(viewer_churn_reasons.is_mendable) as is_any_mendable,
        array_sort(collect_list(named_struct(
            'place', viewer_churn_reasons.place,
            'reason', viewer_churn_reasons.reason,
            'value', figures_of_profiles.value
        ))) as in_order
    from figures_of_profiles
    inner join {{ ref('viewer_churn_reasons') }} as viewer_churn_reasons
        on
            figures_of_profiles.metric = viewer_churn_reasons.metric
            and figures_of_profiles.value >= viewer_churn_reasons.at_least
    group by figures_of_profiles.profile_date, figures_of_profiles.user_id

),

viewers_at_risk as (

    select
        ranked_profiles.profile_date,
        ranked_profiles.user_id,
        ranked_profiles.score,
        ranked_profiles.risk_decile,
        coalesce(
            transform(
                reasons.in_order, each -> named_struct('reason', each.reason, 'value', each.value)
            ),
            array()
        ) as reasons,
        coalesce(reasons.is_any_mendable, false) and ranked_profiles.days_since_seen <= 3
            as is_savable,
        ranked_profiles.days_since_seen,
        ranked_profiles.isp,
        ranked_profiles.device_type,
        ranked_profiles.model_version,
        ranked_profiles.scored_in as _batch_id
    from ranked_profiles
    left outer join reasons
        on
            ranked_profiles.profile_date = reasons.profile_date
            and ranked_profiles.user_id = reasons.user_id

)

select * from viewers_at_risk
