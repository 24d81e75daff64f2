{#- One row per five minutes, a new one each minute, cohort and metric: what live operations watch.
    A window is formed anew, whole, when one of its minutes changes, and what came out the same is
    left alone. What is counted is zero where nothing came of it while its game went on, for hours
    after it was last seen. -#}
{%- set silence = 60 * (var('game_silence_hours') | int) -%}
{%- set days = 1 + (var('game_silence_hours') | int) // 24 -%}
{{
    config(
        unique_key = ['window_start', 'cohort_kind', 'cohort', 'metric'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start', 'metric']
    )
}}

with

minutes as (

    select *
    from {{ ref('game_minutes') }}
    where
        metric <> 'configured_events'
        and (
            {{ is_near_news('game_minutes', 'minute', days) }}
            or {{ is_near_news('game_moves', 'left_at', days, day='minute') }}
        )

),

minutes_with_news as (

    select minute
    from minutes
    where {{ is_new('_batch_id') }}

    union distinct

    select date_trunc('minute', left_at) as minute
    from {{ ref('game_moves') }}
    where {{ has_moved('_batch_id') }}

),

-- the windows of a minute with news, and those that it may be missed in
windows_to_form as (

    select distinct
        explode(
            sequence(
                minute - interval 4 minutes,
                minute + interval {{ silence }} minutes,
                interval 1 minute
            )
        ) as window_start
    from minutes_with_news

),

minutes_of_windows as (

    select
        minutes.*,
        explode(
            sequence(minute - interval 4 minutes, minute, interval 1 minute)
        ) as window_start
    from minutes

),

windows_added_up as (

    select
        minutes_of_windows.window_start,
        minutes_of_windows.game_id,
        minutes_of_windows.cohort_kind,
        minutes_of_windows.cohort,
        minutes_of_windows.metric,
        sum(minutes_of_windows.events) as events,
        sum(minutes_of_windows.numerator) as numerator,
        sum(minutes_of_windows.denominator) as denominator,
        flatten(collect_list(minutes_of_windows.histogram)) as histogram,
        max(minutes_of_windows.newest_arrival_at) as newest_arrival_at,
        max(minutes_of_windows._batch_id) as _batch_id
    from minutes_of_windows
    left semi join windows_to_form
        on minutes_of_windows.window_start = windows_to_form.window_start
    group by
        minutes_of_windows.window_start,
        minutes_of_windows.game_id,
        minutes_of_windows.cohort_kind,
        minutes_of_windows.cohort,
        minutes_of_windows.metric

),

windows_of_games as (

    select distinct
        window_start,
        game_id
    from windows_added_up

),

counts_seen as (

    select
        game_id,
        cohort_kind,
        cohort,
        metric,
        minute,
        lead(minute) over (
            partition by cohort_kind, cohort, metric order by minute
        ) as next_minute,
        _batch_id
    from minutes
    where metric in ('event_share', 'heartbeats', 'logins', 'purchases', 'revenue_minor')

),

-- the first is the one that begins after the minute, the last the one that ends with the next
silent_windows as (

    select
        *,
        explode(
            sequence(
                minute + interval 1 minute,
                least(
                    next_minute - interval 5 minutes, minute + interval {{ silence }} minutes
                ),
                interval 1 minute
            )
        ) as window_start
    from counts_seen
    where next_minute is null or next_minute >= minute + interval 6 minutes

),

windows_measured as (

    select
        window_start,
        game_id,
        cohort_kind,
        cohort,
        metric,
        case
            when metric = 'matchmaking_wait_p95_ms'
                then {{ bucket_middle(histogram_quantile('histogram', 0.95)) }}
            else numerator / coalesce(denominator, 1)
        end as value,
        numerator,
        case
            when metric = 'matchmaking_wait_p95_ms' then null
            else coalesce(denominator, 1)
        end as denominator,
        coalesce(denominator, events) as sample,
        case
            when
                metric in (
                    'crashes_per_session',
                    'level_failure_share',
                    'mispriced_share',
                    'payment_failure_share'
                )
                then numerator
        end as impacted,
        newest_arrival_at,
        _batch_id
    from windows_added_up
    -- crashes alone: of how many sessions is not known
    where denominator is null or denominator > 0

    union all

    select
        silent_windows.window_start,
        silent_windows.game_id,
        silent_windows.cohort_kind,
        silent_windows.cohort,
        silent_windows.metric,
        0.0d as value,
        0L as numerator,
        1L as denominator,
        0L as sample,
        null as impacted,
        null as newest_arrival_at,
        silent_windows._batch_id
    from silent_windows
    inner join windows_of_games
        on
            silent_windows.window_start = windows_of_games.window_start
            and silent_windows.game_id = windows_of_games.game_id

),

windows_with_all_events as (

    select
        *,
        case
            when metric = 'event_share'
                then sum(numerator) over (partition by window_start, game_id, metric)
        end as all_events
    from windows_measured

),

game_windows as (

    select
        window_start,
        game_id,
        cohort_kind,
        cohort,
        metric,
        cast(coalesce(numerator / all_events, value) as double) as value,
        cast(numerator as bigint) as numerator,
        cast(coalesce(all_events, denominator) as bigint) as denominator,
        cast(coalesce(all_events, sample) as bigint) as sample,
        cast(impacted as bigint) as impacted,
        newest_arrival_at,
        cast(_batch_id as bigint) as _batch_id
    from windows_with_all_events
    {%- if is_incremental() %}

    union all

    -- the window alone: nothing may be left in it
    select
        window_start,
        null as game_id,
        null as cohort_kind,
        null as cohort,
        null as metric,
        null as value,
        null as numerator,
        null as denominator,
        null as sample,
        null as impacted,
        null as newest_arrival_at,
        null as _batch_id
    from windows_to_form
    {%- endif %}

)

select * from game_windows
