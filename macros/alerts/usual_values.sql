{#- The query of a model of what was usual: of each hour, cohort and metric the median of its
    windows of five minutes, end to end, in the same hour of the four weeks before; of what has not
    been seen for so long in the same hour of the days before; else in the day before.

    left_hours: a query of the hours whose windows may have changed without a new batch, as what was
    in them moved away, and is_near_left_hours, the condition on windows near them; none where
    nothing moves. -#}
{%- macro usual_values(name, windows, batches, left_hours=none, is_near_left_hours=none) -%}
{%- set later_hours = [] -%}
{%- for weeks in range(1, 5) -%}
    {%- do later_hours.append(('hour + interval ' ~ 7 * weeks ~ ' days', 'weeks')) -%}
{%- endfor -%}
{%- for days in range(1, 7) -%}
    {%- do later_hours.append(('hour + interval ' ~ days ~ ' days', 'days')) -%}
{%- endfor -%}
{%- for hours in range(1, 25) -%}
    {%- do later_hours.append(('hour + interval ' ~ hours ~ ' hours', 'day')) -%}
{%- endfor -%}
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
            {%- if left_hours %}
            or {{ is_near_left_hours }}
            {%- endif %}
        )

),

values_of_hours as (

    select
        hour,
        cohort_kind,
        cohort,
        metric,
        collect_list(value) as hour_values,
        {%- for batch in batches %}
        max({{ batch }}) as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from windows
    group by hour, cohort_kind, cohort, metric

),

values_beside_later_hours as (

    select
        *,
        explode(array(
            {%- for later_hour, known_of in later_hours %}
            named_struct('hour', {{ later_hour }}, 'known_of', '{{ known_of }}')
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as later
    from values_of_hours

),

hours as (

    select distinct hour
    from values_of_hours

),

{% if left_hours -%}
left_hours as (

    {{ left_hours }}

),

{% endif -%}
hours_with_news as (

    select
        hour,
        later.hour as later_hour
    from values_beside_later_hours
    where
        {{ is_any_new(batches) }}
    {%- if left_hours %}

    union all

    select
        hour,
        explode(array(
            {%- for later_hour, _ in later_hours %}
            {{ later_hour }}{{ ',' if not loop.last }}
            {%- endfor %}
        )) as later_hour
    from left_hours
    {%- endif %}

),

hours_concerned as (

    select hour
    from hours_with_news

    union distinct

    select later_hour as hour
    from hours_with_news

),

hours_to_form as (

    select hours.hour
    from hours
    left semi join hours_concerned
        on hours.hour = hours_concerned.hour

),

values_before as (

    select
        values_beside_later_hours.later.hour,
        values_beside_later_hours.cohort_kind,
        values_beside_later_hours.cohort,
        values_beside_later_hours.metric,
        {%- for known_of in ('weeks', 'days', 'day') %}
        flatten(collect_list(values_beside_later_hours.hour_values) filter (
            where values_beside_later_hours.later.known_of = '{{ known_of }}'
        )) as values_of_{{ known_of }},
        {%- endfor %}
        {%- for batch in batches %}
        max(values_beside_later_hours.{{ batch }}) as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from values_beside_later_hours
    left semi join hours_to_form
        on values_beside_later_hours.later.hour = hours_to_form.hour
    group by
        values_beside_later_hours.later.hour, values_beside_later_hours.cohort_kind,
        values_beside_later_hours.cohort, values_beside_later_hours.metric

),

values_chosen as (

    select
        *,
        size(values_of_weeks) < {{ var('baseline_least_windows') }} as is_cold_start,
        case
            when size(values_of_weeks) >= {{ var('baseline_least_windows') }} then values_of_weeks
            -- one day alone says little of how far values lie from each other
            when size(values_of_days) >= {{ 3 * var('baseline_least_windows') }} then values_of_days
            else values_of_day
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
    {%- if left_hours and is_incremental() %}

    union all

    -- the hour alone: what was usual then may have moved away
    select
        hour,
        null as cohort_kind,
        null as cohort,
        null as metric,
        null as baseline,
        null as deviation,
        null as windows,
        null as is_cold_start,
        {%- for batch in batches %}
        null as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from hours_concerned
    {%- endif %}

)

select * from {{ name }}
{%- endmacro -%}
