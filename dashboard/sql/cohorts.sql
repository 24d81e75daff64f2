-- One row per cohort in which a greater share of the viewers is in trouble than of all: those with
-- a stall or an error in the interval, each counted once. viewers_in() counts theta sketches.
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
        viewers,
        case when stalls > 0 then stalled_viewers end as stalled_viewers,
        case when errors > 0 then failing_viewers end as failing_viewers
    from chosen_playback

),

sketches as (

    select
        cohort_kind,
        cohort,
        list(viewers) filter (where viewers is not null) as viewers,
        list(stalled_viewers) filter (where stalled_viewers is not null) as stalled_viewers,
        list(failing_viewers) filter (where failing_viewers is not null) as failing_viewers
    from cells
    where cohort <> 'Unavailable'
    group by cohort_kind, cohort

),

counts as (

    select
        cohort_kind,
        cohort,
        viewers_in(coalesce(viewers, [])) as viewers,
        viewers_in(coalesce(stalled_viewers, [])) as stalled,
        viewers_in(coalesce(failing_viewers, [])) as failing,
        viewers_in(
            coalesce(stalled_viewers, []) || coalesce(failing_viewers, [])
        ) as impacted
    from sketches

),

shares as (

    select
        *,
        impacted / nullif(viewers, 0) as share,
        max(impacted / nullif(viewers, 0)) filter (where cohort_kind = 'all') over () as share_of_all
    from counts

),

cohorts as (

    select *
    from shares
    where
        cohort_kind <> 'all'
        and share > share_of_all

)

select *
from cohorts
order by impacted desc, share desc, cohort_kind, cohort
limit 12
