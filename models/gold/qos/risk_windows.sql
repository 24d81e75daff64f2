{#- One row per five minutes, a new one each minute, and cohort: the risk, as it was told at their
    end, that a rule of errors or stalls will be broken. A window is formed anew, whole, when one of
    its scores is new. -#}
{{
    config(
        unique_key = ['window_start', 'cohort_kind', 'cohort'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start']
    )
}}
{%- set cohorts = {
    'all': "'all'",
    'edge': 'edge',
    'isp': 'isp',
    'device_type': 'device_type',
} %}

with

cells as (

    select *
    from {{ ref('cohorts_at_risk') }}
    where {{ is_near_news('cohorts_at_risk', 'minute', 0) }}

),

minutes_with_news as (

    select distinct minute
    from cells
    where {{ is_new('_batch_id') }}

),

cells_of_cohorts as (

    select
        cells.*,
        explode(array(
            {%- for kind, expression in cohorts.items() %}
            named_struct('kind', '{{ kind }}', 'name', {{ expression }})
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as cohort
    from cells
    left semi join minutes_with_news
        on cells.minute = minutes_with_news.minute

),

sums as (

    select
        minute,
        cohort,
        sum(score * viewers_5) as weighed_score,
        sum(viewers_1) as viewers_1,
        sum(viewers_5) as viewers_5,
        max(_batch_id) as _batch_id
    from cells_of_cohorts
    group by minute, cohort

),

sums_beside_those_of_kind as (

    select
        *,
        sum(weighed_score) over of_kind as weighed_score_of_kind,
        sum(viewers_5) over of_kind as viewers_5_of_kind
    from sums
    window of_kind as (partition by minute, cohort.kind)

),

risk_windows as (

    select
        minute - interval 5 minutes as window_start,
        cohort.kind as cohort_kind,
        cohort.name as cohort,
        'failure_risk' as metric,
        weighed_score / viewers_5 as value,
        (weighed_score_of_kind - weighed_score) / nullif(viewers_5_of_kind - viewers_5, 0)
            as peers_value,
        viewers_5 as sample,
        viewers_1 as impacted,
        minute as newest_arrival_at,
        _batch_id
    from sums_beside_those_of_kind
    where viewers_5 > 0

)

select * from risk_windows
