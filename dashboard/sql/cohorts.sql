-- One row per cohort in which more of the viewing is in trouble than of all: its viewers with a
-- stall or an error in the interval, each counted once. viewers_in() counts theta sketches.
with

cells as (

    select
        [
            {'cohort_kind': 'all', 'cohort': 'all'},
            {'cohort_kind': 'country', 'cohort': country},
            {'cohort_kind': 'isp', 'cohort': isp},
            {'cohort_kind': 'edge', 'cohort': edge},
            {'cohort_kind': 'device_type', 'cohort': device_type},
            {'cohort_kind': 'app_version', 'cohort': app_version},
            {'cohort_kind': 'video_id', 'cohort': video_id}
        ] as cohorts,
        sessions,
        sessions_with_stall,
        sessions_with_error,
        stalled_viewers,
        failing_viewers
    from chosen_playback

),

minutes as (

    select
        unnest(cohorts, recursive := true),
        sessions,
        -- a session's minute with both counts twice
        sessions_with_stall + sessions_with_error as troubles
    from cells

),

shares as (

    select
        cohort_kind,
        cohort,
        -- of minutes, because who watches for longer is in trouble sooner
        sum(troubles) / nullif(sum(sessions), 0) as trouble_share
    from minutes
    group by cohort_kind, cohort

),

shares_beside_all as (

    select
        *,
        max(trouble_share) filter (where cohort_kind = 'all') over () as trouble_share_of_all
    from shares

),

sketches as (

    select
        unnest(cohorts, recursive := true),
        case when sessions_with_stall > 0 then stalled_viewers end as stalled_viewers,
        case when sessions_with_error > 0 then failing_viewers end as failing_viewers
    from cells
    where sessions_with_stall + sessions_with_error > 0

),

viewers as (

    select
        cohort_kind,
        cohort,
        coalesce(list(stalled_viewers) filter (where stalled_viewers is not null), []) as stalled,
        coalesce(list(failing_viewers) filter (where failing_viewers is not null), []) as failing
    from sketches
    group by cohort_kind, cohort

),

cohorts as (

    select
        shares.cohort_kind,
        shares.cohort,
        shares.trouble_share,
        shares.trouble_share_of_all,
        viewers_in(viewers.stalled) as stalled,
        viewers_in(viewers.failing) as failing,
        viewers_in(viewers.stalled || viewers.failing) as impacted
    from shares_beside_all as shares
    inner join viewers using (cohort_kind, cohort)
    where
        shares.cohort <> 'Unavailable'
        and shares.cohort_kind <> 'all'
        and shares.trouble_share > shares.trouble_share_of_all

)

select *
from cohorts
order by impacted desc, trouble_share desc, cohort_kind, cohort
limit 12
