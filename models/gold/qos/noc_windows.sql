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
    'edge_error_share': [
        'edge_errors', 'requests - client_aborts', 'requests - client_aborts', 'edge_errors',
    ],
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

minutes_with_news as (

    select minute
    from playback
    where
        {{ is_new('_batch_id') }}
        or {{ is_new('_logs_batch_id', cursor='_logs_batch_id') }}

    union distinct

    select minute
    from cdn
    where {{ is_new('_batch_id', cursor='_cdn_batch_id') }}

),

-- the windows of a minute with news, and all minutes of those windows
windows_to_form as (

    select distinct
        explode(sequence(minute - interval 4 minutes, minute, interval 1 minute)) as window_start
    from minutes_with_news

),

minutes_of_windows as (

    select
        window_start,
        explode(
            sequence(window_start, window_start + interval 4 minutes, interval 1 minute)
        ) as minute
    from windows_to_form

),

minutes_to_read as (

    select distinct minute
    from minutes_of_windows

),

playback_of_cohorts as (

    select
        playback.*,
        explode(array(
            {%- for kind, expression in playback_cohorts.items() %}
            named_struct('kind', '{{ kind }}', 'name', {{ expression }})
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as cohort
    from playback
    left semi join minutes_to_read
        on playback.minute = minutes_to_read.minute

),

cdn_of_cohorts as (

    select
        cdn.*,
        explode(array(
            {%- for kind, expression in cdn_cohorts.items() %}
            named_struct('kind', '{{ kind }}', 'name', {{ expression }})
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as cohort
    from cdn
    left semi join minutes_to_read
        on cdn.minute = minutes_to_read.minute

),

-- by minute first: plays of several cells at one moment add up, those of several moments do not,
-- and each cell is read for one minute, not for its five windows
playback_minutes as (

    select
        minute,
        cohort,
        {%- for name in playback_sums %}
        sum({{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in sketches %}
        theta_union_agg({{ name }}) as {{ name }},
        {%- endfor %}
        array_max(array(
            {%- for place in range(6) %}
            sum(concurrent_plays[{{ place }}]){{ ',' if not loop.last }}
            {%- endfor %}
        )) as concurrent_plays,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from playback_of_cohorts
    group by minute, cohort

),

playback_windows as (

    select
        minutes_of_windows.window_start,
        playback_minutes.cohort,
        {%- for name in playback_sums %}
        sum(playback_minutes.{{ name }}) as {{ name }},
        {%- endfor %}
        {%- for name in sketches %}
        theta_sketch_estimate(theta_union_agg(playback_minutes.{{ name }})) as {{ name }},
        {%- endfor %}
        max(playback_minutes.concurrent_plays) as concurrent_plays,
        max(playback_minutes.newest_arrival_at) as newest_arrival_at,
        max(playback_minutes._batch_id) as _batch_id,
        max(playback_minutes._logs_batch_id) as _logs_batch_id
    from playback_minutes
    inner join minutes_of_windows
        on playback_minutes.minute = minutes_of_windows.minute
    group by minutes_of_windows.window_start, playback_minutes.cohort

),

cdn_windows as (

    select
        minutes_of_windows.window_start,
        cdn_of_cohorts.cohort,
        {%- for name in cdn_sums %}
        sum(cdn_of_cohorts.{{ name }}) as {{ name }},
        {%- endfor %}
        max(cdn_of_cohorts._batch_id) as _batch_id
    from cdn_of_cohorts
    inner join minutes_of_windows
        on cdn_of_cohorts.minute = minutes_of_windows.minute
    group by minutes_of_windows.window_start, cdn_of_cohorts.cohort

),

histogram_entries as (

    select
        minute,
        cohort,
        'startup_p95_ms' as metric,
        explode(startup_histogram) as entry,
        newest_arrival_at,
        _batch_id,
        _logs_batch_id,
        -1 as _cdn_batch_id
    from playback_of_cohorts

    union all

    select
        minute,
        cohort,
        'first_byte_p95_ms' as metric,
        explode(first_byte_histogram) as entry,
        null as newest_arrival_at,
        -1 as _batch_id,
        null as _logs_batch_id,
        _batch_id as _cdn_batch_id
    from cdn_of_cohorts

    union all

    select
        minute,
        cohort,
        'origin_first_byte_p95_ms' as metric,
        explode(origin_first_byte_histogram) as entry,
        null as newest_arrival_at,
        -1 as _batch_id,
        null as _logs_batch_id,
        _batch_id as _cdn_batch_id
    from cdn_of_cohorts

),

bucket_minutes as (

    select
        minute,
        cohort,
        metric,
        entry.bucket,
        sum(entry.count) as durations,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id,
        max(_cdn_batch_id) as _cdn_batch_id
    from histogram_entries
    group by minute, cohort, metric, entry.bucket

),

bucket_windows as (

    select
        minutes_of_windows.window_start,
        bucket_minutes.cohort,
        bucket_minutes.metric,
        bucket_minutes.bucket,
        sum(bucket_minutes.durations) as durations,
        max(bucket_minutes.newest_arrival_at) as newest_arrival_at,
        max(bucket_minutes._batch_id) as _batch_id,
        max(bucket_minutes._logs_batch_id) as _logs_batch_id,
        max(bucket_minutes._cdn_batch_id) as _cdn_batch_id
    from bucket_minutes
    inner join minutes_of_windows
        on bucket_minutes.minute = minutes_of_windows.minute
    group by
        minutes_of_windows.window_start, bucket_minutes.cohort, bucket_minutes.metric,
        bucket_minutes.bucket

),

buckets_ranked as (

    select
        *,
        sum(durations) over (
            partition by window_start, cohort, metric order by bucket
        ) as durations_so_far,
        sum(durations) over of_histogram as all_durations,
        max(newest_arrival_at) over of_histogram as newest_of_all_at,
        max(_batch_id) over of_histogram as batch_of_all,
        max(_logs_batch_id) over of_histogram as logs_batch_of_all,
        max(_cdn_batch_id) over of_histogram as cdn_batch_of_all
    from bucket_windows
    window of_histogram as (partition by window_start, cohort, metric)

),

quantiles as (

    select
        window_start,
        cohort,
        metric,
        {{ bucket_middle('min(bucket)') }} as p95,
        max(all_durations) as sample,
        max(newest_of_all_at) as newest_arrival_at,
        max(batch_of_all) as _batch_id,
        max(logs_batch_of_all) as _logs_batch_id,
        max(cdn_batch_of_all) as _cdn_batch_id
    from buckets_ranked
    where durations_so_far >= 0.95 * all_durations
    group by window_start, cohort, metric

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
            ){{ ',' if not loop.last }}
            {%- endfor %}
        )) as figure,
        newest_arrival_at,
        _batch_id,
        _logs_batch_id,
        -1 as _cdn_batch_id
    from playback_windows

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
            ){{ ',' if not loop.last }}
            {%- endfor %}
        )) as figure,
        null as newest_arrival_at,
        -1 as _batch_id,
        null as _logs_batch_id,
        _batch_id as _cdn_batch_id
    from cdn_windows

    union all

    select
        window_start,
        cohort,
        named_struct(
            'metric', metric,
            'value', p95,
            'numerator', cast(null as bigint),
            'denominator', cast(null as bigint),
            'sample', sample,
            'impacted', cast(null as bigint)
        ) as figure,
        newest_arrival_at,
        _batch_id,
        _logs_batch_id,
        _cdn_batch_id
    from quantiles

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
