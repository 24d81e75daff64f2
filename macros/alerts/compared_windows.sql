{#- The query of a view that sets each value of a model of windows beside what is usual, what was
    five minutes before, and what the other cohorts of its kind have.

    effects: a view of what was before a change (before_value), of each cohort and metric from
    changed_at to compared_until; none where nothing is compared so. -#}
{%- macro compared_windows(name, windows, baseline, effects=none) -%}
with

windows as (

    select *
    from {{ ref(windows) }}

),

baseline as (

    select
        hour,
        cohort_kind,
        cohort,
        metric,
        baseline,
        deviation,
        is_cold_start
    from {{ ref(baseline) }}

),

-- by when events arrive: the clock of one client may be a day ahead
newest_arrival as (

    select max(newest_arrival_at) as newest_arrival_at
    from windows

),

windows_judged as (

    select
        windows.*,
        windows.window_start + interval 5 minutes <= newest_arrival.newest_arrival_at as has_ended
    from windows
    cross join newest_arrival

),

windows_with_peers as (

    select
        *,
        -- of sums, less its own
        ((sum(numerator) over of_kind) - numerator)
        / nullif((sum(denominator) over of_kind) - denominator, 0) as peers_value
    from windows_judged
    window of_kind as (partition by window_start, cohort_kind, metric)

),

{% if effects -%}
effects as (

    select
        cohort_kind,
        cohort,
        metric,
        changed_at,
        compared_until,
        before_value
    from {{ ref(effects) }}

),

{% endif -%}
windows_with_previous as (

    select
        windows_with_peers.*,
        previous.value as previous_value
    from windows_with_peers
    left outer join windows as previous
        on
            windows_with_peers.window_start = previous.window_start + interval 5 minutes
            and windows_with_peers.cohort_kind = previous.cohort_kind
            and windows_with_peers.cohort = previous.cohort
            and windows_with_peers.metric = previous.metric

),

{{ name }} as (

    select
        windows_with_previous.window_start,
        windows_with_previous.cohort_kind,
        windows_with_previous.cohort,
        windows_with_previous.metric,
        windows_with_previous.has_ended,
        windows_with_previous.value,
        windows_with_previous.sample,
        windows_with_previous.impacted,
        baseline.baseline,
        baseline.deviation,
        windows_with_previous.value / nullif(baseline.baseline, 0) - 1 as relative_change,
        (windows_with_previous.value - baseline.baseline)
        / nullif(baseline.deviation, 0) as deviations,
        baseline.is_cold_start,
        windows_with_previous.previous_value,
        windows_with_previous.peers_value
        {%- if effects %},
        effects.before_value
        {%- endif %}
    from windows_with_previous
    left outer join baseline
        on
            date_trunc('hour', windows_with_previous.window_start) = baseline.hour
            and windows_with_previous.cohort_kind = baseline.cohort_kind
            and windows_with_previous.cohort = baseline.cohort
            and windows_with_previous.metric = baseline.metric
    {%- if effects %}
    left outer join effects
        on
            windows_with_previous.window_start >= effects.changed_at
            and windows_with_previous.window_start < effects.compared_until
            and windows_with_previous.cohort_kind = effects.cohort_kind
            and windows_with_previous.cohort = effects.cohort
            and windows_with_previous.metric = effects.metric
    {%- endif %}

)

select * from {{ name }}
{%- endmacro -%}
