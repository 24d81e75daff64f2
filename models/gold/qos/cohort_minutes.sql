{#- One row per minute, edge, ISP and kind of device: what was known of them when the minute began,
    by which it can be foretold that errors or stalls come. That is of the 65 minutes up to the last
    but one; a minute is formed anew, whole, when one of these changes. -#}
{%- set cohort = ['edge', 'isp', 'device_type'] -%}
{%- set batches = ['_batch_id', '_logs_batch_id'] -%}
{%- set usual_minutes = 60 -%}
{{
    config(
        unique_key = ['minute'] + cohort,
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute']
    )
}}
{%- set sums = [
    'viewers', 'failing_viewers', 'stalled_viewers', 'starts', 'played_ms', 'stalled_ms',
    'played_bits', 'rated_s',
] -%}
{%- set cdn_sums = [
    'requests', 'failed_requests', 'origin_errors', 'cacheable_requests', 'hits', 'first_bytes',
    'first_byte_ms', 'origin_first_bytes', 'origin_first_byte_ms', 'timed_bytes', 'time_taken_ms',
] -%}
{#- by name: the first and the last of the minutes, counted back from the last that is known -#}
{%- set spans = {
    '1': [0, 0], '5': [4, 0], '5_before': [9, 5], 'usual': [4 + usual_minutes, 5],
} -%}
{#- whose figures stand beside those of the cohort -#}
{%- set groups = {'edge': 'edge', 'isp': 'isp', 'all': "'all'"} -%}
{%- set cdn_groups = ['edge', 'isp'] -%}
{%- set near_news =
    is_near_news_of_any('cohort_activity', 'minute', 1, batches)
    ~ '\n        or ' ~ is_near_news('noc_cdn', 'minute', 1, cursor='_cdn_batch_id')
-%}
{%- set over = {} -%}
{%- for span, (first, last) in spans.items() -%}
    {%- do over.update({span:
        'order by minute range between interval ' ~ first ~ ' minutes preceding and '
        ~ ('interval ' ~ last ~ ' minutes preceding' if last else 'current row')
    }) -%}
{%- endfor %}

with

activity as (

    select
        *,
        1000 * played_s as played_ms
    from {{ ref('cohort_activity') }}
    where
        {{ near_news }}

),

cdn as (

    select
        minute,
        edge,
        isp,
        requests - client_aborts as requests,
        origin_errors + edge_errors as failed_requests,
        origin_errors,
        cacheable_requests,
        hits,
        first_bytes,
        first_byte_ms,
        origin_first_bytes,
        origin_first_byte_ms,
        timed_bytes,
        time_taken_ms,
        _batch_id
    from {{ ref('noc_cdn') }}
    where
        {{ near_news }}

),

minutes_with_news as (

    select minute
    from activity
    where {{ is_any_new(batches) }}

    union distinct

    select minute
    from cdn
    where {{ is_new('_batch_id', cursor='_cdn_batch_id') }}

),

-- by the last minute that is known
minutes_to_form as (

    select distinct
        explode(sequence(
            minute, minute + interval {{ 4 + usual_minutes }} minutes, interval 1 minute
        )) as minute
    from minutes_with_news

),

minutes_to_read as (

    select distinct
        explode(sequence(
            minute - interval {{ 4 + usual_minutes }} minutes, minute, interval 1 minute
        )) as minute
    from minutes_to_form

),

activity_to_read as (

    select activity.*
    from activity
    left semi join minutes_to_read
        on activity.minute = minutes_to_read.minute

),

cohort_spans as (

    select
        minute,
        {{ cohort | join(',\n        ') }},
        {%- for span in spans %}
        {%- for name in sums %}
        coalesce(
            sum({{ name }}) over (partition by {{ cohort | join(', ') }} {{ over[span] }}), 0
        ) as {{ name }}_{{ span }},
        {%- endfor %}
        {%- for batch in batches %}
        max({{ batch }}) over (
            partition by {{ cohort | join(', ') }} {{ over[span] }}
        ) as {{ batch }}_{{ span }},
        {%- endfor %}
        {%- endfor %}
        count(*) over (
            partition by {{ cohort | join(', ') }} {{ over['usual'] }}
        ) as minutes_usual
    from activity_to_read

),
{% for group, expression in groups.items() %}
minutes_of_{{ group }} as (

    select
        minute,
        {{ expression }} as group_name,
        {%- for name in sums %}
        sum({{ name }}) as {{ name }},
        {%- endfor %}
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from activity_to_read
    group by minute, {{ expression }}

),

spans_of_{{ group }} as (

    select
        minute,
        group_name,
        {%- for name in sums %}
        sum({{ name }}) over (partition by group_name {{ over['5'] }}) as {{ name }}_5,
        sum({{ name }}) over (partition by group_name {{ over['usual'] }}) as {{ name }}_usual,
        {%- endfor %}
        greatest(
            max(_batch_id) over (partition by group_name {{ over['5'] }}),
            max(_batch_id) over (partition by group_name {{ over['usual'] }})
        ) as _batch_id,
        greatest(
            max(_logs_batch_id) over (partition by group_name {{ over['5'] }}),
            max(_logs_batch_id) over (partition by group_name {{ over['usual'] }})
        ) as _logs_batch_id
    from minutes_of_{{ group }}

),
{% endfor %}
{#- of an edge and of a network -#}
{% for group in cdn_groups %}
cdn_minutes_of_{{ group }} as (

    select
        cdn.minute,
        cdn.{{ group }},
        {%- for name in cdn_sums %}
        sum(cdn.{{ name }}) as {{ name }},
        {%- endfor %}
        max(cdn._batch_id) as _batch_id
    from cdn
    left semi join minutes_to_read
        on cdn.minute = minutes_to_read.minute
    group by cdn.minute, cdn.{{ group }}

),

cdn_spans_of_{{ group }} as (

    select
        minute,
        {{ group }},
        {%- for name in cdn_sums %}
        sum({{ name }}) over (partition by {{ group }} {{ over['5'] }}) as {{ name }}_5,
        sum({{ name }}) over (partition by {{ group }} {{ over['usual'] }}) as {{ name }}_usual,
        {%- endfor %}
        greatest(
            max(_batch_id) over (partition by {{ group }} {{ over['5'] }}),
            max(_batch_id) over (partition by {{ group }} {{ over['usual'] }})
        ) as _batch_id
    from cdn_minutes_of_{{ group }}

),
{% endfor %}
shares as (

    select
        cohort_spans.*,
        {%- for span in spans %}
        cohort_spans.failing_viewers_{{ span }} / nullif(cohort_spans.viewers_{{ span }}, 0)
            as error_share_{{ span }},
        cohort_spans.stalled_ms_{{ span }} / nullif(
            cohort_spans.played_ms_{{ span }} + cohort_spans.stalled_ms_{{ span }}, 0
        ) as rebuffering_share_{{ span }},
        cohort_spans.stalled_viewers_{{ span }} / nullif(cohort_spans.viewers_{{ span }}, 0)
            as stalled_share_{{ span }},
        {%- endfor %}
        {%- for group in groups %}
        (spans_of_{{ group }}.failing_viewers_5 - cohort_spans.failing_viewers_5) / nullif(
            spans_of_{{ group }}.viewers_5 - cohort_spans.viewers_5, 0
        ) as error_share_of_{{ group }}_5,
        (spans_of_{{ group }}.stalled_ms_5 - cohort_spans.stalled_ms_5) / nullif(
            spans_of_{{ group }}.played_ms_5 - cohort_spans.played_ms_5
            + spans_of_{{ group }}.stalled_ms_5 - cohort_spans.stalled_ms_5, 0
        ) as rebuffering_share_of_{{ group }}_5,
        {%- for span in ('5', 'usual') %}
        (spans_of_{{ group }}.played_bits_{{ span }} - cohort_spans.played_bits_{{ span }})
        / nullif(spans_of_{{ group }}.rated_s_{{ span }} - cohort_spans.rated_s_{{ span }}, 0)
            as bitrate_of_{{ group }}_{{ span }},
        {%- endfor %}
        {%- endfor %}
        {%- for span in ('5', 'usual') %}
        cohort_spans.played_bits_{{ span }} / nullif(cohort_spans.rated_s_{{ span }}, 0)
            as bitrate_{{ span }},
        {%- for group in cdn_groups %}
        cdn_spans_of_{{ group }}.timed_bytes_{{ span }}
        / nullif(cdn_spans_of_{{ group }}.time_taken_ms_{{ span }}, 0)
            as throughput_of_{{ group }}_{{ span }},
        {%- endfor %}
        {%- endfor %}
        spans_of_edge.viewers_5 as viewers_of_edge_5,
        cdn_spans_of_edge.failed_requests_5 / nullif(cdn_spans_of_edge.requests_5, 0)
            as cdn_error_share_5,
        cdn_spans_of_edge.origin_errors_5 / nullif(cdn_spans_of_edge.requests_5, 0)
            as origin_error_share_5,
        cdn_spans_of_edge.hits_5 / nullif(cdn_spans_of_edge.cacheable_requests_5, 0) as hit_share_5,
        cdn_spans_of_edge.hits_usual / nullif(cdn_spans_of_edge.cacheable_requests_usual, 0)
            as hit_share_usual,
        {%- for span in ('5', 'usual') %}
        cdn_spans_of_edge.first_byte_ms_{{ span }}
        / nullif(cdn_spans_of_edge.first_bytes_{{ span }}, 0) as first_byte_ms_{{ span }},
        cdn_spans_of_edge.origin_first_byte_ms_{{ span }}
        / nullif(cdn_spans_of_edge.origin_first_bytes_{{ span }}, 0)
            as origin_first_byte_ms_{{ span }},
        {%- endfor %}
        greatest(
            {%- for group in groups %}
            spans_of_{{ group }}._batch_id,
            {%- endfor %}
            cohort_spans._batch_id_5, cohort_spans._batch_id_5_before, cohort_spans._batch_id_usual
        ) as _batch_id,
        greatest(
            {%- for group in groups %}
            spans_of_{{ group }}._logs_batch_id,
            {%- endfor %}
            cohort_spans._logs_batch_id_5, cohort_spans._logs_batch_id_5_before,
            cohort_spans._logs_batch_id_usual
        ) as _logs_batch_id,
        greatest(
            {%- for group in cdn_groups %}
            cdn_spans_of_{{ group }}._batch_id{{ ',' if not loop.last }}
            {%- endfor %}
        ) as _cdn_batch_id
    from cohort_spans
    left semi join minutes_to_form
        on cohort_spans.minute = minutes_to_form.minute
    {%- for group, expression in groups.items() %}
    inner join spans_of_{{ group }}
        on
            cohort_spans.minute = spans_of_{{ group }}.minute
            and spans_of_{{ group }}.group_name
            = {{ expression if group == 'all' else 'cohort_spans.' ~ expression }}
    {%- endfor %}
    {%- for group in cdn_groups %}
    left outer join cdn_spans_of_{{ group }}
        on
            cohort_spans.minute = cdn_spans_of_{{ group }}.minute
            and cohort_spans.{{ group }} = cdn_spans_of_{{ group }}.{{ group }}
    {%- endfor %}

),

cohort_minutes as (

    select
        minute + interval 2 minutes as minute,
        {{ cohort | join(',\n        ') }},
        viewers_1,
        viewers_5,
        viewers_of_edge_5,
        viewers_5 / nullif(viewers_5_before, 0) as viewer_growth,
        starts_5 / nullif(starts_5_before, 0) as start_growth,
        {%- for name in ('error_share', 'rebuffering_share', 'stalled_share') %}
        {%- for span in spans %}
        {{ name }}_{{ span }},
        {%- endfor %}
        {%- endfor %}
        (error_share_5 - error_share_usual) / nullif(
            sqrt(error_share_usual * (1 - error_share_usual) / nullif(viewers_5, 0)), 0
        ) as error_deviations,
        (stalled_share_5 - stalled_share_usual) / nullif(
            sqrt(stalled_share_usual * (1 - stalled_share_usual) / nullif(viewers_5, 0)), 0
        ) as stall_deviations,
        {%- for group in groups %}
        error_share_of_{{ group }}_5,
        rebuffering_share_of_{{ group }}_5,
        {%- endfor %}
        bitrate_5 / nullif(bitrate_usual, 0) as bitrate_growth,
        {%- for group in groups %}
        bitrate_of_{{ group }}_5 / nullif(bitrate_of_{{ group }}_usual, 0)
            as bitrate_growth_of_{{ group }},
        {%- endfor %}
        {%- for group in cdn_groups %}
        throughput_of_{{ group }}_5 / nullif(throughput_of_{{ group }}_usual, 0)
            as throughput_growth_of_{{ group }},
        {%- endfor %}
        cdn_error_share_5,
        origin_error_share_5,
        hit_share_5,
        hit_share_5 - hit_share_usual as hit_share_change,
        first_byte_ms_5,
        first_byte_ms_5 / nullif(first_byte_ms_usual, 0) as first_byte_growth,
        origin_first_byte_ms_5,
        origin_first_byte_ms_5 / nullif(origin_first_byte_ms_usual, 0) as origin_first_byte_growth,
        minutes_usual,
        _batch_id,
        _logs_batch_id,
        _cdn_batch_id
    from shares

)

select * from cohort_minutes
