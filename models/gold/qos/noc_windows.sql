{#- One row per five minutes, a new one each minute, cohort and metric: what a NOC watches. A window
    is formed anew, whole, when one of its minutes changes, and what came out the same is left
    alone. -#}
{%- set playback_cohorts = {
    'all': "'all'",
    'country': 'country',
    'isp': 'isp',
    'edge': 'edge',
    'video_id': 'video_id',
    'device_type': 'device_type',
    'app_version': 'app_version',
    'app_version, device_type': "concat(app_version, ', ', device_type)",
} -%}
{%- set cdn_cohorts = {'all': "'all'", 'isp': 'isp', 'edge': 'edge'} -%}
{%- set playback_sums = [
    'attempts', 'exits_before_start', 'start_failures_technical', 'startups', 'ended_plays',
    'failed_plays', 'played_s', 'played_bits', 'rated_s', 'stalled_ms', 'seeking_ms',
] -%}
{%- set cdn_sums = [
    'requests', 'cacheable_requests', 'hits', 'client_aborts', 'origin_errors', 'edge_errors',
    'first_bytes', 'origin_first_bytes',
] -%}
{%- set sketches = ['viewers', 'stalled_viewers', 'failing_viewers'] -%}
{#- by name: numerator, denominator, number that it rests on, number of those in trouble -#}
{%- set playback_shares = {
    'exit_before_start_share': [
        'exits_before_start', 'attempts', 'attempts', 'exits_before_start',
    ],
    'start_failure_share': [
        'start_failures_technical', 'attempts', 'attempts', 'start_failures_technical',
    ],
    'playback_failure_share': ['failed_plays', 'ended_plays', 'ended_plays', 'failed_plays'],
    'failing_client_share': ['failing_viewers', 'viewers', 'viewers', 'failing_viewers'],
    'rebuffering_share': [
        'stalled_ms', '1000 * played_s + stalled_ms + seeking_ms', 'viewers', 'stalled_viewers',
    ],
    'bitrate_bps': ['played_bits', 'rated_s', 'viewers', 'viewers'],
    'attempts': ['attempts', '1', 'attempts', 'attempts'],
    'concurrent_plays': ['concurrent_plays', '1', 'concurrent_plays', 'concurrent_plays'],
} -%}
{%- set cdn_shares = {
    'hit_share': ['hits', 'cacheable_requests', 'cacheable_requests', 'cacheable_requests - hits'],
    'cdn_error_share': [
        'origin_errors + edge_errors', 'requests - client_aborts', 'requests - client_aborts',
        'origin_errors + edge_errors',
    ],
    'origin_error_share': [
        'origin_errors', 'requests - client_aborts', 'requests - client_aborts', 'origin_errors',
    ],
} -%}
{%- set playback_quantiles = {'startup_p95_ms': ['startup_histogram', 'startups']} -%}
{%- set cdn_quantiles = {
    'first_byte_p95_ms': ['first_byte_histogram', 'first_bytes'],
    'origin_first_byte_p95_ms': ['origin_first_byte_histogram', 'origin_first_bytes'],
} -%}
{{
    config(
        unique_key = ['window_start', 'cohort_kind', 'cohort', 'metric'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start', 'metric']
    )
}}

with

playback as (

    select *
    from {{ ref('noc_playback') }}
    where
        {{ is_near_news('noc_playback', 'minute', 1) }}
        or {{ is_near_news(
            'noc_playback', 'minute', 1, cursor='_logs_batch_id', batch='_logs_batch_id'
        ) }}
        or {{ is_near_news('noc_cdn', 'minute', 1, cursor='_cdn_batch_id') }}

),

cdn as (

    select *
    from {{ ref('noc_cdn') }}
    where
        {{ is_near_news('noc_playback', 'minute', 1) }}
        or {{ is_near_news(
            'noc_playback', 'minute', 1, cursor='_logs_batch_id', batch='_logs_batch_id'
        ) }}
        or {{ is_near_news('noc_cdn', 'minute', 1, cursor='_cdn_batch_id') }}

),

playback_in_windows as (

    select
        *,
        explode(sequence(minute - interval 4 minutes, minute, interval 1 minute)) as window_start
    from playback

),

cdn_in_windows as (

    select
        *,
        explode(sequence(minute - interval 4 minutes, minute, interval 1 minute)) as window_start
    from cdn

),

windows_with_news as (

    select window_start
    from playback_in_windows
    where
        {{ is_new('_batch_id') }}
        or {{ is_new('_logs_batch_id', cursor='_logs_batch_id') }}

    union distinct

    select window_start
    from cdn_in_windows
    where {{ is_new('_batch_id', cursor='_cdn_batch_id') }}

),

playback_of_windows as (

    select
        playback_in_windows.*,
        explode(array(
            {%- for kind, expression in playback_cohorts.items() %}
            named_struct('kind', '{{ kind }}', 'name', {{ expression }})
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as cohort
    from playback_in_windows
    left semi join windows_with_news
        on playback_in_windows.window_start = windows_with_news.window_start

),

cdn_of_windows as (

    select
        cdn_in_windows.*,
        explode(array(
            {%- for kind, expression in cdn_cohorts.items() %}
            named_struct('kind', '{{ kind }}', 'name', {{ expression }})
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as cohort
    from cdn_in_windows
    left semi join windows_with_news
        on cdn_in_windows.window_start = windows_with_news.window_start

),

-- by minute first: plays of several cells at one moment add up, those of several moments do not
playback_minutes as (

    select
        window_start,
        minute,
        cohort,
        {%- for name in playback_sums %}
        sum({{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in sketches %}
        theta_union_agg({{ name }}) as {{ name }},
        {%- endfor %}
        flatten(collect_list(startup_histogram)) as startup_entries,
        array_max(array(
            {%- for place in range(6) %}
            sum(concurrent_plays[{{ place }}]){{ ',' if not loop.last }}
            {%- endfor %}
        )) as concurrent_plays,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from playback_of_windows
    group by window_start, minute, cohort

),

playback_windows as (

    select
        window_start,
        cohort,
        {%- for name in playback_sums %}
        sum({{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in sketches %}
        theta_sketch_estimate(theta_union_agg({{ name }})) as {{ name }},
        {%- endfor %}
        collect_list(startup_entries) as startup_histograms,
        max(concurrent_plays) as concurrent_plays,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from playback_minutes
    group by window_start, cohort

),

cdn_windows as (

    select
        window_start,
        cohort,
        {%- for name in cdn_sums %}
        sum({{ name }}) as {{ name }},
        {%- endfor %}
        collect_list(first_byte_histogram) as first_byte_histograms,
        collect_list(origin_first_byte_histogram) as origin_first_byte_histograms,
        max(_batch_id) as _batch_id
    from cdn_of_windows
    group by window_start, cohort

),

playback_windows_with_histogram as (

    select
        *,
        {{ merged_histogram('startup_histograms') }} as startup_histogram
    from playback_windows

),

cdn_windows_with_histograms as (

    select
        *,
        {{ merged_histogram('first_byte_histograms') }} as first_byte_histogram,
        {{ merged_histogram('origin_first_byte_histograms') }} as origin_first_byte_histogram
    from cdn_windows

),

figures as (

    select
        window_start,
        cohort,
        explode(array(
            {%- for metric, (top, bottom, sample, impacted) in playback_shares.items() %}
            named_struct(
                'metric', '{{ metric }}',
                'value', cast(({{ top }}) / nullif({{ bottom }}, 0) as double),
                'numerator', cast({{ top }} as bigint),
                'denominator', cast({{ bottom }} as bigint),
                'sample', cast({{ sample }} as bigint),
                'impacted', cast({{ impacted }} as bigint)
            ),
            {%- endfor %}
            {%- for metric, (histogram, sample) in playback_quantiles.items() %}
            named_struct(
                'metric', '{{ metric }}',
                'value', {{ histogram_quantile(histogram, 0.95) }},
                'numerator', cast(null as bigint),
                'denominator', cast(null as bigint),
                'sample', cast({{ sample }} as bigint),
                'impacted', cast(null as bigint)
            ){{ ',' if not loop.last }}
            {%- endfor %}
        )) as figure,
        newest_arrival_at,
        _batch_id,
        _logs_batch_id,
        -1 as _cdn_batch_id
    from playback_windows_with_histogram

    union all

    select
        window_start,
        cohort,
        explode(array(
            {%- for metric, (top, bottom, sample, impacted) in cdn_shares.items() %}
            named_struct(
                'metric', '{{ metric }}',
                'value', cast(({{ top }}) / nullif({{ bottom }}, 0) as double),
                'numerator', cast({{ top }} as bigint),
                'denominator', cast({{ bottom }} as bigint),
                'sample', cast({{ sample }} as bigint),
                'impacted', cast({{ impacted }} as bigint)
            ),
            {%- endfor %}
            {%- for metric, (histogram, sample) in cdn_quantiles.items() %}
            named_struct(
                'metric', '{{ metric }}',
                'value', {{ histogram_quantile(histogram, 0.95) }},
                'numerator', cast(null as bigint),
                'denominator', cast(null as bigint),
                'sample', cast({{ sample }} as bigint),
                'impacted', cast(null as bigint)
            ){{ ',' if not loop.last }}
            {%- endfor %}
        )) as figure,
        null as newest_arrival_at,
        -1 as _batch_id,
        null as _logs_batch_id,
        _batch_id as _cdn_batch_id
    from cdn_windows_with_histograms

),

noc_windows as (

    select
        window_start,
        cohort.kind as cohort_kind,
        cohort.name as cohort,
        figure.metric,
        figure.value,
        figure.numerator,
        figure.denominator,
        figure.sample,
        figure.impacted,
        newest_arrival_at,
        cast(_batch_id as bigint) as _batch_id,
        _logs_batch_id,
        cast(_cdn_batch_id as bigint) as _cdn_batch_id
    from figures
    where figure.value is not null

)

select * from noc_windows
