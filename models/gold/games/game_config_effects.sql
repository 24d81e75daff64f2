{#- One row per game, change of its configuration, cohort and metric: the hour before the change
    beside the time since, an hour at most. A view: a late event may date a change anew. -#}
{{ config(materialized = 'view') }}

with

changes as (

    select
        game_id,
        config_version,
        changed_at
    from {{ ref('game_config_changes') }}

),

windows as (

    select *
    from {{ ref('game_windows') }}

),

changes_with_end as (

    select
        *,
        least(
            changed_at + interval 1 hour,
            lead(changed_at) over (partition by game_id order by changed_at, config_version)
        ) as compared_until
    from changes

),

-- end to end, none of both sides
windows_of_changes as (

    select
        changes_with_end.game_id,
        changes_with_end.config_version,
        changes_with_end.changed_at,
        changes_with_end.compared_until,
        windows.cohort_kind,
        windows.cohort,
        windows.metric,
        windows.value,
        windows.numerator,
        windows.denominator,
        windows.sample,
        windows.window_start < changes_with_end.changed_at as is_before
    from windows
    inner join changes_with_end
        on
            windows.game_id = changes_with_end.game_id
            and windows.window_start >= changes_with_end.changed_at - interval 1 hour
            and windows.window_start + interval 5 minutes <= changes_with_end.compared_until
            and mod(
                timestampdiff(minute, changes_with_end.changed_at, windows.window_start), 5
            ) = 0

),

game_config_effects as (

    select
        game_id,
        config_version,
        changed_at,
        compared_until,
        cohort_kind,
        cohort,
        metric,
        -- of quantiles, which no sums make up, the mean
        coalesce(
            sum(numerator) filter (where is_before)
            / sum(denominator) filter (where is_before),
            avg(value) filter (where is_before)
        ) as before_value,
        coalesce(
            sum(numerator) filter (where not is_before)
            / sum(denominator) filter (where not is_before),
            avg(value) filter (where not is_before)
        ) as after_value,
        coalesce(sum(sample) filter (where is_before), 0L) as before_sample,
        coalesce(sum(sample) filter (where not is_before), 0L) as after_sample
    from windows_of_changes
    group by
        game_id, config_version, changed_at, compared_until, cohort_kind, cohort, metric

)

select * from game_config_effects
