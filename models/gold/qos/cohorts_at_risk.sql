{#- One row per minute, edge, ISP and kind of device that was scored: how likely it is that errors
    or stalls come, for how many viewers, and in which layer they begin to show. A minute is formed
    anew when one of its scores is new. -#}
{%- set cohort = ['edge', 'isp', 'device_type'] -%}
{{
    config(
        unique_key = ['minute'] + cohort,
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute']
    )
}}
{%- set scores_of_cohorts = source('bronze_ml', 'scores_point_of_failure') -%}
{#- how near a layer is to what its rules call broken, 1: there -#}
{%- set evidence = {
    'origin': ['origin_error_share_5 / 0.01', 'origin_first_byte_growth - 1'],
    'edge': [
        '(cdn_error_share_5 - origin_error_share_5) / 0.01',
        '(1 - throughput_growth_of_edge) / 0.5',
    ],
    'isp': ['(1 - throughput_growth_of_isp) / 0.5', '(1 - bitrate_growth_of_isp) / 0.2'],
    'player': ['(error_share_5 - error_share_of_all_5) / 0.05'],
} %}

with

scores as (

    select *
    from {{ scores_of_cohorts }}
    where {{ is_near_news(scores_of_cohorts, 'minute', 0) }}

),

minutes_with_news as (

    select distinct minute
    from scores
    where {{ is_new('_batch_id') }}

),

minutes_of_cohorts as (

    select *
    from {{ ref('cohort_minutes') }}
    where
        edge <> 'Unavailable'
        and isp <> 'Unavailable'
        and {{ is_near_news(scores_of_cohorts, 'minute', 0) }}

),

scored_minutes as (

    select
        minutes_of_cohorts.*,
        scores.score,
        scores.model_version,
        scores._batch_id as scored_in
    from scores
    left semi join minutes_with_news
        on scores.minute = minutes_with_news.minute
    inner join minutes_of_cohorts
        on
            scores.minute = minutes_of_cohorts.minute
            {%- for name in cohort %}
            and scores.{{ name }} = minutes_of_cohorts.{{ name }}
            {%- endfor %}

),

minutes_with_evidence as (

    select
        *,
        array_max(array(
            {%- for layer, signs in evidence.items() %}
            named_struct(
                'strength', greatest(
                    {%- for sign in signs %}
                    coalesce({{ sign }}, 0),
                    {%- endfor %}
                    0
                ),
                'layer', '{{ layer }}'
            ){{ ',' if not loop.last }}
            {%- endfor %}
        )) as strongest
    from scored_minutes

),

cohorts_at_risk as (

    select
        minute,
        {{ cohort | join(',\n        ') }},
        score,
        case when strongest.strength > 0 then strongest.layer else 'platform' end as layer,
        strongest.strength as layer_evidence,
        viewers_1,
        viewers_5,
        model_version,
        scored_in as _batch_id
    from minutes_with_evidence

)

select * from cohorts_at_risk
