{#- The query of a view of alerts: judgements of windows become alerts that are pending, firing or
    resolved. -#}
{%- macro alerts_of(name, judgements) -%}
with

judgements as (

    {%- for model in judgements %}
    select
        window_start,
        rule,
        breaches,
        newest_arrival_at
    from {{ ref(model) }}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}

),

rules as (

    select *
    from {{ ref('alert_rules') }}

),

-- by when events arrive: the clock of one client may be a day ahead
newest_arrival as (

    {%- set as_of = var('alerts_as_of') %}
    select
        least(
            max(newest_arrival_at),
            {% if as_of %}timestamp '{{ as_of }}'{% else %}null{% endif %}
        ) as newest_arrival_at
    from judgements

),

ended_judgements as (

    select
        judgements.window_start,
        judgements.rule,
        explode(judgements.breaches) as breach,
        newest_arrival.newest_arrival_at
    from judgements
    inner join newest_arrival
        on judgements.window_start + interval 5 minutes <= newest_arrival.newest_arrival_at

),

breaches as (

    select
        ended_judgements.window_start,
        ended_judgements.rule,
        ended_judgements.breach.*,
        ended_judgements.newest_arrival_at,
        rules.metric,
        rules.cohort_kind,
        rules.direction,
        rules.fire_after,
        rules.clear_after,
        rules.severity,
        rules.layer,
        rules.meaning
    from ended_judgements
    inner join rules
        on ended_judgements.rule = rules.rule

),

breaches_beside_previous as (

    select
        *,
        timestampdiff(
            minute, lag(window_start) over of_cohort, window_start
        ) as minutes_since_previous
    from breaches
    window of_cohort as (partition by rule, cohort order by window_start)

),

breaches_in_alert as (

    select
        *,
        count_if(minutes_since_previous is null or minutes_since_previous > clear_after)
            over of_cohort as alert_number,
        count_if(minutes_since_previous is null or minutes_since_previous > 1)
            over of_cohort as run_number
    from breaches_beside_previous
    window of_cohort as (
        partition by rule, cohort order by window_start
        rows between unbounded preceding and current row
    )

),

breaches_in_run as (

    select
        *,
        row_number() over (
            partition by rule, cohort, run_number order by window_start
        ) as place_in_run
    from breaches_in_alert

),

episodes as (

    select
        rule,
        metric,
        cohort_kind,
        cohort,
        severity,
        layer,
        meaning,
        clear_after,
        newest_arrival_at,
        min(window_start) as started_at,
        min(window_start) filter (where place_in_run >= fire_after)
        + interval 5 minutes as fired_at,
        max(window_start) as last_window_start,
        count(*) as windows,
        max_by(value, window_start) as last_value,
        max_by(usual, window_start) as last_usual,
        case direction when 'above' then max(value) else min(value) end as worst_value,
        max(sample) as sample,
        max(impacted) as impacted
    from breaches_in_run
    group by
        rule, metric, cohort_kind, cohort, severity, layer, meaning, clear_after,
        newest_arrival_at, direction, alert_number

),

episodes_ended as (

    select
        *,
        last_window_start + make_interval(0, 0, 0, 0, 0, 5 + clear_after, 0) as cleared_at
    from episodes

),

episodes_judged as (

    select
        *,
        case
            when fired_at is null and cleared_at > newest_arrival_at then 'pending'
            when fired_at is null then 'passed'
            when cleared_at > newest_arrival_at then 'firing'
            else 'resolved'
        end as state
    from episodes_ended

),

fired as (

    select
        *,
        cohort_kind in ('all', 'game') as is_whole,
        case when startswith(cohort_kind, 'game') then substring_index(cohort, ', ', 1) end
            as game
    from episodes_judged
    where fired_at is not null

),

explanations as (

    select
        rule,
        explode(split(explained_by, ' ')) as explained_by
    from rules
    where explained_by <> 'none'

),

-- of a whole (all viewers, or a game) and a part that explains it the part is told of, else the
-- whole is; what fired earlier has been told, and its end will be
suppressions_of_one_metric as (

    select
        suppressed.rule,
        suppressed.cohort,
        suppressed.started_at,
        other.rule as suppressed_by,
        other.fired_at as suppressed_at
    from fired as suppressed
    inner join fired as other
        on
            suppressed.metric = other.metric
            and suppressed.game <=> other.game
            and suppressed.started_at <= other.cleared_at
            and suppressed.fired_at >= other.fired_at
            and (
                (
                    suppressed.is_whole
                    and not other.is_whole
                    and other.impacted >= 0.8 * suppressed.impacted
                )
                or (
                    not suppressed.is_whole
                    and other.is_whole
                    and suppressed.impacted < 0.8 * other.impacted
                )
            )

),

-- a symptom is not told of where its cause is
suppressions_by_causes as (

    select
        suppressed.rule,
        suppressed.cohort,
        suppressed.started_at,
        other.rule as suppressed_by,
        other.fired_at as suppressed_at
    from fired as suppressed
    inner join explanations
        on suppressed.rule = explanations.rule
    inner join fired as other
        on
            explanations.explained_by = other.rule
            and suppressed.game <=> other.game
            and suppressed.started_at <= other.cleared_at
            and suppressed.fired_at >= other.fired_at

),

suppressions as (

    select *
    from suppressions_of_one_metric

    union all

    select *
    from suppressions_by_causes

),

suppressors as (

    select
        rule,
        cohort,
        started_at,
        min_by(suppressed_by, struct(suppressed_at, suppressed_by)) as suppressed_by
    from suppressions
    group by rule, cohort, started_at

),

-- what the dashboard's address says: those concerned, from half an hour before to half an hour
-- after
episodes_with_interval as (

    select
        *,
        last_window_start + interval 35 minutes as shown_to,
        -- it shows a week at most
        greatest(
            started_at - interval 30 minutes,
            last_window_start + interval 35 minutes - interval 7 days
        ) as shown_from
    from episodes_judged

),

episodes_with_address as (

    select
        *,
        concat_ws(
            '&',
            case
                when cohort_kind = 'all' then null
                when cohort_kind = 'game' or startswith(cohort_kind, 'game, ')
                    then concat('game=', url_encode(substring_index(cohort, ', ', 1)))
                when cohort_kind = 'video_id' then concat('video=', url_encode(cohort))
                when cohort_kind = 'device_type' then concat('device=', url_encode(cohort))
                when cohort_kind = 'app_version' then concat('version=', url_encode(cohort))
                when cohort_kind = 'app_version, device_type'
                    then
                        concat(
                            'version=', url_encode(substring_index(cohort, ', ', 1)),
                            '&device=', url_encode(substring_index(cohort, ', ', -1))
                        )
                else concat(cohort_kind, '=', url_encode(cohort))
            end,
            concat('from=', date_format(shown_from, "yyyy-MM-dd'T'HH:mm")),
            concat('to=', date_format(shown_to, "yyyy-MM-dd'T'HH:mm"))
        ) as dashboard_query
    from episodes_with_interval

),

{{ name }} as (

    select
        md5(concat_ws(
            '|',
            episodes_with_address.rule,
            episodes_with_address.cohort,
            episodes_with_address.started_at
        )) as alert_id,
        episodes_with_address.rule,
        episodes_with_address.cohort_kind,
        episodes_with_address.cohort,
        episodes_with_address.state,
        episodes_with_address.severity,
        episodes_with_address.layer,
        episodes_with_address.meaning,
        episodes_with_address.metric,
        episodes_with_address.started_at,
        episodes_with_address.fired_at,
        case when episodes_with_address.state = 'resolved' then episodes_with_address.cleared_at end
            as resolved_at,
        episodes_with_address.windows,
        episodes_with_address.last_value,
        episodes_with_address.last_usual,
        episodes_with_address.worst_value,
        episodes_with_address.sample,
        episodes_with_address.impacted,
        suppressors.suppressed_by,
        episodes_with_address.dashboard_query
    from episodes_with_address
    left outer join suppressors
        on
            episodes_with_address.rule = suppressors.rule
            and episodes_with_address.cohort = suppressors.cohort
            and episodes_with_address.started_at = suppressors.started_at

)

select * from {{ name }}
{%- endmacro -%}
