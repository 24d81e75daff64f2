-- One row per cohort in which more of the viewing is in trouble than of all: its viewers with a
-- stall or an error in the interval, each counted once. viewers_in() counts theta sketches.
with

cells as (

    select
        unnest([
            {'cohort_kind': 'all', 'cohort': 'all'},
            {'cohort_kind': 'country', 'cohort': country},
            {'cohort_kind': 'isp', 'cohort': isp},
            {'cohort_kind': 'edge', 'cohort': edge},
            {'cohort_kind': 'device_type', 'cohort': device_type},
            {'cohort_kind': 'app_version', 'cohort': app_version},
            {'cohort_kind': 'video_id', 'cohort': video_id}
        ], recursive := true),
        sessions,
        -- a session's minute with both counts twice
        sessions_with_stall + sessions_with_error as troubles,
        viewers,
        case when stalls > 0 then stalled_viewers end as stalled_viewers,
        case when errors > 0 then failing_viewers end as failing_viewers
    from chosen_playback

),

sums as (

    select
        cohort_kind,
        cohort,
        -- of minutes, because who watches for longer is in trouble sooner
        sum(troubles) / nullif(sum(sessions), 0) as trouble_share,
        list(viewers) filter (where viewers is not null) as viewers,
        list(stalled_viewers) filter (where stalled_viewers is not null) as stalled_viewers,
        list(failing_viewers) filter (where failing_viewers is not null) as failing_viewers
    from cells
    where cohort <> 'Unavailable'
    group by cohort_kind, cohort

),

sums_beside_all as (

    select
        *,
        max(trouble_share) filter (where cohort_kind = 'all') over () as trouble_share_of_all
    from sums

),

cohorts as (

    select
        cohort_kind,
        cohort,
        trouble_share,
        trouble_share_of_all,
        viewers_in(coalesce(viewers, [])) as viewers,
        viewers_in(coalesce(stalled_viewers, [])) as stalled,
        viewers_in(coalesce(failing_viewers, [])) as failing,
        viewers_in(
            coalesce(stalled_viewers, []) || coalesce(failing_viewers, [])
        ) as impacted
    from sums_beside_all
    where
        cohort_kind <> 'all'
        and trouble_share > trouble_share_of_all

)

select *
from cohorts
order by impacted desc, trouble_share desc, cohort_kind, cohort
limit 12
