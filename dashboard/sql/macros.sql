-- What a metric is, once, as models/gold/qos/noc_windows.sql has it: sums over sums.

-- The middle of a bucket of a histogram, in ms (macros/qos/bucket_middle.sql).
create macro bucket_ms(bucket) as exp((bucket + 0.5) / 20);

-- The additive columns of noc_playback, of any rows that were added up, as metrics. Windows is how
-- many windows of five minutes they span.
create macro playback_figures(sums, windows) as [
    {
        'metric': 'concurrent_plays',
        'value': cast(sums.concurrent_plays as double),
        'sample': cast(sums.concurrent_plays as bigint)
    },
    {
        'metric': 'attempts',
        'value': sums.attempts / windows,
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'start_failure_share',
        'value': sums.start_failures_technical / nullif(sums.attempts, 0),
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'exit_before_start_share',
        'value': sums.exits_before_start / nullif(sums.attempts, 0),
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'startup_p95_ms',
        'value': sums.startup_p95_ms,
        'sample': cast(sums.startups as bigint)
    },
    {
        'metric': 'rebuffering_share',
        'value': sums.stalled_ms
        / nullif(1000 * sums.played_s + sums.stalled_ms + sums.seeking_ms, 0),
        'sample': cast(sums.played_s as bigint)
    },
    {
        'metric': 'playback_failure_share',
        'value': sums.failed_plays / nullif(sums.ended_plays, 0),
        'sample': cast(sums.ended_plays as bigint)
    },
    {
        'metric': 'bitrate_bps',
        'value': sums.played_bits / nullif(sums.rated_s, 0),
        'sample': cast(sums.rated_s as bigint)
    }
];

-- The same of noc_cdn.
create macro cdn_figures(sums, windows) as [
    {'metric': 'requests', 'value': sums.requests / windows},
    {'metric': 'sent_bits_per_second', 'value': 8 * sums.sent_bytes / (300 * windows)},
    {'metric': 'hit_share', 'value': sums.hits / nullif(sums.cacheable_requests, 0)},
    {'metric': 'hit_byte_share', 'value': sums.hit_bytes / nullif(sums.cacheable_bytes, 0)},
    {'metric': 'first_byte_p95_ms', 'value': sums.first_byte_p95_ms},
    {
        'metric': 'slow_first_byte_share',
        'value': sums.slow_first_bytes / nullif(sums.first_bytes, 0)
    },
    {'metric': 'origin_first_byte_p95_ms', 'value': sums.origin_first_byte_p95_ms},
    {
        'metric': 'cdn_error_share',
        'value': (sums.origin_errors + sums.edge_errors)
        / nullif(sums.requests - sums.client_aborts, 0)
    },
    {
        'metric': 'origin_error_share',
        'value': sums.origin_errors / nullif(sums.requests - sums.client_aborts, 0)
    },
    {'metric': 'response_4xx_share', 'value': sums.responses_4xx / nullif(sums.requests, 0)},
    {'metric': 'response_5xx_share', 'value': sums.responses_5xx / nullif(sums.requests, 0)},
    {'metric': 'client_abort_share', 'value': sums.client_aborts / nullif(sums.requests, 0)}
];
