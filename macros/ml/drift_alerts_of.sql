{#- The query of a view of alerts: runs of days in a row on which the profiles that a version scored
    were far from those that it was judged on. The state of an alert is what its days say. -#}
{%- macro drift_alerts_of(name, model, drift) -%}
with

drifts as (

    select *
    from {{ ref(drift) }}

),

newest_days as (

    select max(profile_date) as newest_date
    from drifts

),

-- of fewer profiles chance alone makes as much
far_drifts as (

    select *
    from drifts
    where
        stability_index > 0.25
        and profiles >= 200

),

far_days as (

    select
        model_version,
        profile_date,
        max(profiles) as profiles,
        max(stability_index) as stability_index,
        array_sort(collect_list(struct(-stability_index as place, feature, stability_index)))
            as in_order
    from far_drifts
    group by model_version, profile_date

),

-- what is the same in all days of a run
far_days_in_run as (

    select
        *,
        date_sub(
            profile_date,
            row_number() over (partition by model_version order by profile_date)
        ) as run
    from far_days

),

runs as (

    select
        model_version,
        min(profile_date) as started_on,
        max(profile_date) as last_on,
        count(*) as days,
        max_by(profiles, profile_date) as profiles,
        max_by(stability_index, profile_date) as stability_index,
        max_by(in_order, profile_date) as in_order
    from far_days_in_run
    group by model_version, run

),

{{ name }} as (

    select
        md5(concat_ws('|', '{{ model }}', runs.model_version, runs.started_on)) as alert_id,
        '{{ model }}' as model,
        runs.model_version,
        runs.started_on,
        if(runs.last_on = newest_days.newest_date, 'firing', 'resolved') as state,
        runs.last_on,
        runs.days,
        runs.profiles,
        runs.stability_index,
        concat_ws(
            ', ',
            transform(
                slice(runs.in_order, 1, 5),
                each -> concat(each.feature, ' ', round(each.stability_index, 2))
            )
        ) as features
    from runs
    cross join newest_days

)

select * from {{ name }}
{%- endmacro -%}
