{#- One row per minute, edge, ISP and result: the requests that the CDN answered in that minute. A
    minute is formed anew, whole, when a log row of it arrives. -#}
{{
    config(
        unique_key = ['minute', 'edge', 'isp', 'resulttype'],
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute']
    )
}}
{%- set counts = {
    'bot_requests': 'isbot',
    'cacheable_requests': 'is_cacheable',
    'hits': 'is_hit',
    'client_aborts': "error_layer = 'client'",
    'origin_errors': "error_layer = 'origin'",
    'edge_errors': "error_layer = 'edge'",
    'other_errors': "error_layer = 'other'",
    'responses_4xx': 'status between 400 and 499',
    'responses_5xx': 'status between 500 and 599',
    'first_bytes': 'first_byte_ms is not null',
    'slow_first_bytes': 'first_byte_ms > 15',
    'origin_first_bytes': 'origin_first_byte_ms is not null',
} -%}
{%- set sums = {
    'sent_bytes': 'sent_bytes',
    'cacheable_bytes': 'case when is_cacheable then sent_bytes end',
    'hit_bytes': 'case when is_hit then sent_bytes end',
    'timed_bytes': 'case when time_taken_ms is not null then sent_bytes end',
    'time_taken_ms': 'time_taken_ms',
    'first_byte_ms': 'first_byte_ms',
    'origin_first_byte_ms': 'origin_first_byte_ms',
} %}

with

requests as (

    select
        *,
        date_trunc('minute', requested_at) as minute
    from {{ ref('cdn_logs') }}
    where
        requested_at is not null
        and {{ is_near_news('cdn_logs', 'logdate', 1) }}

),

minutes_with_news as (

    select distinct minute
    from requests
    where {{ is_new('_batch_id') }}

),

requests_of_minutes as (

    select requests.*
    from requests
    left semi join minutes_with_news
        on requests.minute = minutes_with_news.minute

),

requests_judged as (

    select
        minute,
        coalesce(location, 'Unavailable') as edge,
        isp,
        coalesce(resulttype, 'Unavailable') as resulttype,
        isbot,
        status,
        sent_bytes,
        coalesce(resulttype, '') <> 'REDIRECT' as is_cacheable,
        coalesce(resulttype, '') in ('HIT', 'REFRESHHIT', 'ORIGINSHIELDHIT') as is_hit,
        case
            when is_client_abort or status = 0 then 'client'
            when detailed_result_type rlike '^(Origin|SlowReaderOrigin).*Error$' then 'origin'
            when resulttype in ('CAPACITYEXCEEDED', 'LIMITEXCEEDED') or status >= 500 then 'edge'
            when resulttype = 'ERROR' then 'other'
        end as error_layer,
        cast(round(first_byte_s * 1000) as bigint) as first_byte_ms,
        cast(round(origin_first_byte_s * 1000) as bigint) as origin_first_byte_ms,
        cast(round(time_taken_s * 1000) as bigint) as time_taken_ms,
        _batch_id
    from requests_of_minutes

),

cells as (

    select
        minute,
        edge,
        isp,
        resulttype,
        count(*) as requests,
        {%- for name, condition in counts.items() %}
        count_if({{ condition }}) as {{ name }},
        {%- endfor %}
        {%- for name, expression in sums.items() %}
        coalesce(sum({{ expression }}), 0) as {{ name }},
        {%- endfor %}
        collect_list({{ duration_bucket('first_byte_ms') }}) filter (
            where first_byte_ms is not null
        ) as first_byte_buckets,
        collect_list({{ duration_bucket('origin_first_byte_ms') }}) filter (
            where origin_first_byte_ms is not null
        ) as origin_first_byte_buckets,
        max(_batch_id) as _batch_id
    from requests_judged
    group by minute, edge, isp, resulttype

),

noc_cdn as (

    select
        minute,
        edge,
        isp,
        resulttype,
        requests,
        bot_requests,
        sent_bytes,
        cacheable_requests,
        hits,
        cacheable_bytes,
        hit_bytes,
        timed_bytes,
        time_taken_ms,
        first_bytes,
        first_byte_ms,
        {{ histogram('first_byte_buckets') }} as first_byte_histogram,
        slow_first_bytes,
        origin_first_bytes,
        origin_first_byte_ms,
        {{ histogram('origin_first_byte_buckets') }} as origin_first_byte_histogram,
        client_aborts,
        origin_errors,
        edge_errors,
        other_errors,
        responses_4xx,
        responses_5xx,
        _batch_id
    from cells

)

select * from noc_cdn
