{#- The query of a model of what was usual: of each hour, cohort and metric the median of its
    windows of five minutes, end to end, in the same hour of the four weeks before; of what has not
    been seen for so long in the day before. -#}
{%- macro usual_values(name, windows, batches) -%}
with

-- five minutes each, end to end
windows as (

    select
        *,
        date_trunc('hour', window_start) as hour
    from {{ ref(windows) }}
    where
        minute(window_start) % 5 = 0
        and (
            {{ is_near_news_of_any(windows, 'window_start', 28, batches) }}
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
        {{ is_any_new(batches) }}

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
        {%- for batch in batches %}
        max(windows_beside_later_hours.{{ batch }}) as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
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

{{ name }} as (

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
        {{ batches | join(', ') }}
    from distances

)

select * from {{ name }}
{%- endmacro -%}
