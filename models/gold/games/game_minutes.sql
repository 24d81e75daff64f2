{#- One row per minute, cohort and metric: the sums that live operations watch, to be added up to
    longer times. A minute is formed anew, whole, when an event of it comes. -#}
{#- metric, what cohorts of a game have in common besides, its name, of which events, sum above the
    line, sum below it (null of what is counted) -#}
{%- set sums = [
    ['event_share', 'event_type', 'event_type', 'true', '1L', 'null'],
    ['configured_events', 'config_version', 'signals.config_version', 'true', '1L', 'null'],
    ['heartbeats', 'server_id', 'server_id', "event_type = 'server_heartbeat'", '1L', 'null'],
    ['ccu', 'server_id', 'server_id', "event_type = 'server_heartbeat'", 'signals.ccu', '1L'],
    ['logins', none, none, "event_type = 'login'", '1L', 'null'],
    ['logins', 'platform', 'platform', "event_type = 'login'", '1L', 'null'],
    ['logins', 'server_id', 'server_id', "event_type = 'login'", '1L', 'null'],
    ['purchases', none, none, 'is_purchase', '1L', 'null'],
    ['revenue_minor', 'currency', 'signals.currency', 'is_purchase', 'signals.amount_minor', 'null'],
    [
        'payment_failure_share', none, none,
        'is_purchase or is_payment_failure', 'cast(is_payment_failure as bigint)', '1L',
    ],
    [
        'payment_failure_share', 'platform', 'platform',
        'is_purchase or is_payment_failure', 'cast(is_payment_failure as bigint)', '1L',
    ],
    [
        'mispriced_share', 'offer_name', 'signals.offer_name',
        'is_mispriced is not null', 'cast(is_mispriced as bigint)', '1L',
    ],
    [
        'level_failure_share', 'level_id', 'signals.level_id',
        "event_type = 'level_end' and signals.result is not null",
        "cast(signals.result <> 'completed' as bigint)", '1L',
    ],
    [
        'crashes_per_session', none, none,
        "is_crash or event_type = 'session_start'",
        'cast(is_crash as bigint)', "cast(event_type = 'session_start' as bigint)",
    ],
    [
        'crashes_per_session', 'app_version', 'app_version',
        "is_crash or event_type = 'session_start'",
        'cast(is_crash as bigint)', "cast(event_type = 'session_start' as bigint)",
    ],
    [
        'earned_per_player_minute', 'currency', 'signals.currency',
        "event_type = 'currency_earned'", 'signals.amount', 'null',
    ],
    [
        'matchmaking_wait_p95_ms', none, none,
        "event_type = 'matchmaking_result' and signals.wait_s >= 0", 'null', 'null',
    ],
] -%}
{{
    config(
        unique_key = ['minute', 'cohort_kind', 'cohort', 'metric'],
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute', 'metric']
    )
}}

with

events as (

    select
        date_trunc('minute', event_at) as minute,
        event_at,
        event_type,
        game_id,
        player_id,
        platform,
        app_version,
        server_id,
        signals,
        received_at,
        moved_from,
        _batch_id
    from {{ ref('game_events') }}
    where {{ is_near_moving_news('game_events', 0) }}

),

prices as (

    select
        game_id,
        sku,
        currency,
        price_minor,
        valid_from,
        lead(valid_from) over (
            partition by game_id, sku, currency order by valid_from
        ) as valid_until
    from {{ ref('game_offer_prices') }}

),

minutes_with_news as (

    select minute
    from events
    where {{ is_new('_batch_id') }}

    union distinct

    select explode(transform(moved_from, former -> date_trunc('minute', former))) as minute
    from events
    where {{ is_new('_batch_id') }}

),

events_of_minutes as (

    select events.*
    from events
    left semi join minutes_with_news
        on events.minute = minutes_with_news.minute

),

-- a show whose price nobody has told us is neither right nor wrong
events_judged as (

    select
        events_of_minutes.*,
        events_of_minutes.event_type = 'iap_purchase'
        and events_of_minutes.signals.receipt_valid is distinct from false as is_purchase,
        -- who thinks better of it has not failed
        events_of_minutes.event_type = 'iap_failed'
        and events_of_minutes.signals.reason is distinct from 'cancelled' as is_payment_failure,
        events_of_minutes.event_type = 'client_error'
        and coalesce(events_of_minutes.signals.severity = 'crash', false) as is_crash,
        case
            when events_of_minutes.event_type = 'offer_shown'
                then events_of_minutes.signals.price_minor <> prices.price_minor
        end as is_mispriced
    from events_of_minutes
    left outer join prices
        on
            events_of_minutes.game_id = prices.game_id
            and events_of_minutes.signals.sku = prices.sku
            and events_of_minutes.signals.currency = prices.currency
            and events_of_minutes.event_at >= prices.valid_from
            and (prices.valid_until is null or events_of_minutes.event_at < prices.valid_until)

),

parts as (

    select
        minute,
        game_id,
        player_id,
        signals,
        received_at,
        _batch_id,
        explode(array_compact(array(
            {%- for metric, kind, name, of_events, numerator, denominator in sums %}
            case
                when {{ of_events }}{{ ' and ' ~ name ~ ' is not null' if name }}
                    then
                        named_struct(
                            'metric', '{{ metric }}',
                            'cohort_kind', '{{ 'game, ' ~ kind if kind else 'game' }}',
                            'cohort', concat_ws(', ', game_id{{ ', ' ~ name if name }}),
                            'numerator', cast({{ numerator }} as bigint),
                            'denominator', cast({{ denominator }} as bigint)
                        )
            end{{ ',' if not loop.last }}
            {%- endfor %}
        ))) as part
    from events_judged

),

parts_measured as (

    select
        minute,
        game_id,
        part.cohort_kind,
        part.cohort,
        part.metric,
        part.numerator,
        part.denominator,
        case when part.metric = 'earned_per_player_minute' then player_id end as player_id,
        case
            when part.metric = 'matchmaking_wait_p95_ms'
                then {{ duration_bucket('1000 * signals.wait_s') }}
        end as bucket,
        received_at,
        _batch_id
    from parts

),

sums as (

    select
        minute,
        game_id,
        cohort_kind,
        cohort,
        metric,
        count(*) as events,
        sum(numerator) as numerator,
        sum(denominator) as denominator,
        cast(size(collect_set(player_id)) as bigint) as players,
        collect_list(bucket) as wait_buckets,
        max(received_at) as newest_arrival_at,
        max(_batch_id) as _batch_id
    from parts_measured
    group by minute, game_id, cohort_kind, cohort, metric

),

game_minutes as (

    select
        minute,
        game_id,
        cohort_kind,
        cohort,
        metric,
        events,
        numerator,
        coalesce(denominator, nullif(players, 0L)) as denominator,
        {{ histogram('wait_buckets') }} as histogram,
        newest_arrival_at,
        _batch_id
    from sums
    {%- if is_incremental() %}

    union all

    -- the minute alone: its only event may have moved away
    select
        minute,
        null as game_id,
        null as cohort_kind,
        null as cohort,
        null as metric,
        null as events,
        null as numerator,
        null as denominator,
        null as histogram,
        null as newest_arrival_at,
        null as _batch_id
    from minutes_with_news
    {%- endif %}

)

select * from game_minutes
