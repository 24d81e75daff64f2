-- One row per minute of a cohort whose outcome is known, and that no rule of errors or stalls is
-- broken by now: whether one is broken, by its edge, its network, its kind of device or by all, in
-- five minutes that end 5 to 15 minutes after it began; of which layer the first says it is.
with

profiles as (

    select *
    from gold.cohort_minutes
    where
        edge <> 'Unavailable'
        and isp <> 'Unavailable'

),

judgements as (

    select
        window_start,
        rule,
        unnest(breaches) as breach
    from gold.alert_judgements

),

newest_windows as (

    select max(window_start) as newest_window
    from gold.alert_judgements

),

rules as (

    select *
    from ops.alert_rules
    where
        domain = 'video'
        and cohort_kind <> 'video_id'
        and metric in (
            'failing_client_share', 'rebuffering_share', 'start_failure_share',
            'playback_failure_share', 'origin_error_share', 'edge_error_share'
        )

),

breaches as (

    select
        judgements.window_start,
        judgements.breach.cohort,
        rules.cohort_kind,
        rules.layer
    from judgements
    inner join rules
        on judgements.rule = rules.rule

),

-- of the windows that end from five minutes ago on
breaches_of_profiles as (

    select
        profiles.minute,
        profiles.edge,
        profiles.isp,
        profiles.device_type,
        min(breaches.window_start) as first_window,
        arg_min(breaches.layer, breaches.window_start) as layer
    from profiles
    inner join breaches
        on
            profiles.minute - interval 10 minutes < breaches.window_start
            and profiles.minute + interval 10 minutes >= breaches.window_start
            and case breaches.cohort_kind
                when 'edge' then profiles.edge = breaches.cohort
                when 'isp' then profiles.isp = breaches.cohort
                when 'app_version, device_type'
                    then ends_with(breaches.cohort, ', ' || profiles.device_type)
                else true
            end
    group by profiles.minute, profiles.edge, profiles.isp, profiles.device_type

),

point_of_failure as (

    select
        profiles.*,
        breaches_of_profiles.layer,
        breaches_of_profiles.first_window is not null as outcome
    from profiles
    inner join newest_windows
        on profiles.minute + interval 10 minutes <= newest_windows.newest_window
    left outer join breaches_of_profiles
        on
            profiles.minute = breaches_of_profiles.minute
            and profiles.edge = breaches_of_profiles.edge
            and profiles.isp = breaches_of_profiles.isp
            and profiles.device_type = breaches_of_profiles.device_type
    where
        breaches_of_profiles.first_window is null
        or breaches_of_profiles.first_window > profiles.minute

)

select * from point_of_failure
