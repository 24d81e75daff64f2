{#- One row per hour, cohort and metric: what was usual before it. That is the same hour of the four
    weeks before; of what has not been seen for so long it is the day before. -#}
{{
    config(
        unique_key = ['hour', 'cohort_kind', 'cohort', 'metric'],
        prune_by = 'hour',
        rewrites = 'hour',
        clustered_by = ['hour']
    )
}}

with

-- five minutes each, end to end
windows as (

    select
        *,
        date_trunc('hour', window_start) as hour
    from {{ ref('noc_windows') }}
    where
        minute(window_start) % 5 = 0
        and (
            {{ is_near_news('noc_windows', 'window_start', 28) }}
            or {{ is_near_news(
                'noc_windows', 'window_start', 28,
                cursor='_logs_batch_id', batch='_logs_batch_id'
            ) }}
            or {{ is_near_news(
                'noc_windows', 'window_start', 28,
                cursor='_cdn_batch_id', batch='_cdn_batch_id'
            ) }}
        )

),

windows_beside_later_hours as (

    select
        *,
        explode(array(
            {%- for weeks in range(1, 5) %}
            named_struct('hour', hour + interval {{ 7 * weeks }} days, 'is_week', true),
            {%- endfor %}
            {%- for hours in range(1, 25) %}
            named_struct('hour', hour + interval {{ hours }} hours, 'is_week', false)
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as later
    from windows

),

hours as (

    select distinct hour
    from windows

),

hours_with_news as (

    select
        hour,
        later.hour as later_hour
    from windows_beside_later_hours
    where
        {{ is_new('_batch_id') }}
        or {{ is_new('_logs_batch_id', cursor='_logs_batch_id') }}
        or {{ is_new('_cdn_batch_id', cursor='_cdn_batch_id') }}

),

hours_to_form as (

    select hour
    from hours_with_news

    union distinct

    select hours.hour
    from hours
    left semi join hours_with_news
        on hours.hour = hours_with_news.later_hour

),

values_before as (

    select
        windows_beside_later_hours.later.hour,
        windows_beside_later_hours.cohort_kind,
        windows_beside_later_hours.cohort,
        windows_beside_later_hours.metric,
        collect_list(windows_beside_later_hours.value) filter (
            where windows_beside_later_hours.later.is_week
        ) as values_of_weeks,
        collect_list(windows_beside_later_hours.value) filter (
            where not windows_beside_later_hours.later.is_week
        ) as values_of_day,
        max(windows_beside_later_hours._batch_id) as _batch_id,
        max(windows_beside_later_hours._logs_batch_id) as _logs_batch_id,
        max(windows_beside_later_hours._cdn_batch_id) as _cdn_batch_id
    from windows_beside_later_hours
    left semi join hours_to_form
        on windows_beside_later_hours.later.hour = hours_to_form.hour
    group by
        windows_beside_later_hours.later.hour, windows_beside_later_hours.cohort_kind,
        windows_beside_later_hours.cohort, windows_beside_later_hours.metric

),

values_chosen as (

    select
        *,
        size(values_of_weeks) < {{ var('baseline_least_windows') }} as is_cold_start,
        case
            when size(values_of_weeks) < {{ var('baseline_least_windows') }} then values_of_day
            else values_of_weeks
        end as usual_values
    from values_before

),

medians as (

    select
        *,
        {{ median_of('usual_values') }} as baseline
    from values_chosen
    where size(usual_values) > 0

),

distances as (

    select
        *,
        transform(usual_values, usual -> abs(usual - baseline)) as distances
    from medians

),

noc_baseline as (

    select
        hour,
        cohort_kind,
        cohort,
        metric,
        baseline,
        -- as wide as the standard deviation where values are normally distributed
        1.4826 * {{ median_of('distances') }} as deviation,
        size(usual_values) as windows,
        is_cold_start,
        _batch_id,
        _logs_batch_id,
        _cdn_batch_id
    from distances

)

select * from noc_baseline
