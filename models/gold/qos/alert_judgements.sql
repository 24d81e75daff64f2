{#- One row per window of five minutes and rule: the cohorts that the rule is broken by, which are
    mostly none. A window is judged when it changes, by what was usual then: no median that a late
    row moves makes or unmakes an alert of days ago. -#}
{{
    config(
        unique_key = ['window_start', 'rule'],
        prune_by = 'window_start',
        clustered_by = ['window_start']
    )
}}

with

rules as (

    select *
    from {{ ref('alert_rules') }}

),

windows as (

    select
        window_start,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id,
        max(_cdn_batch_id) as _cdn_batch_id
    from {{ ref('noc_windows') }}
    where
        {{ is_near_news('noc_windows', 'window_start', 0) }}
        or {{ is_near_news(
            'noc_windows', 'window_start', 0, cursor='_logs_batch_id', batch='_logs_batch_id'
        ) }}
        or {{ is_near_news(
            'noc_windows', 'window_start', 0, cursor='_cdn_batch_id', batch='_cdn_batch_id'
        ) }}
    group by window_start

),

windows_with_news as (

    select *
    from windows
    where
        {{ is_new('_batch_id') }}
        or {{ is_new('_logs_batch_id', cursor='_logs_batch_id') }}
        or {{ is_new('_cdn_batch_id', cursor='_cdn_batch_id') }}

),

figures as (

    select *
    from {{ ref('noc_compare') }}
    where
        {{ is_near_news('noc_windows', 'window_start', 0) }}
        or {{ is_near_news(
            'noc_windows', 'window_start', 0, cursor='_logs_batch_id', batch='_logs_batch_id'
        ) }}
        or {{ is_near_news(
            'noc_windows', 'window_start', 0, cursor='_cdn_batch_id', batch='_cdn_batch_id'
        ) }}

),

figures_to_judge as (

    select
        figures.window_start,
        figures.cohort,
        figures.value,
        figures.sample,
        figures.impacted,
        figures.deviation,
        rules.rule,
        rules.direction,
        rules.bound,
        rules.reference,
        rules.factor,
        rules.margin,
        rules.deviations,
        case rules.reference
            when 'baseline' then figures.baseline
            when 'peers' then figures.peers_value
        end as usual
    from figures
    inner join rules
        on
            figures.metric = rules.metric
            and figures.cohort_kind = rules.cohort_kind
    where
        figures.sample >= rules.least_sample
        and (rules.least_impacted = 0 or figures.impacted >= rules.least_impacted)

),

figures_judged as (

    select
        *,
        case direction
            when 'above'
                then
                    value > bound
                    and (reference = 'none' or value > usual * factor + margin)
                    and (deviations = 0 or value > usual + deviations * deviation)
            else
                value < bound
                and (reference = 'none' or value < usual * factor + margin)
                and (deviations = 0 or value < usual - deviations * deviation)
        end as is_breach
    from figures_to_judge

),

judgements as (

    select
        window_start,
        rule,
        count(*) as cohorts,
        array_sort(collect_list(named_struct(
            'cohort', cohort, 'value', value, 'usual', usual, 'sample', sample,
            'impacted', impacted
        )) filter (where is_breach)) as breaches
    from figures_judged
    group by window_start, rule

),

alert_judgements as (

    select
        windows_with_news.window_start,
        rules.rule,
        coalesce(judgements.cohorts, 0) as cohorts,
        coalesce(judgements.breaches, array()) as breaches,
        windows_with_news.newest_arrival_at,
        windows_with_news._batch_id,
        windows_with_news._logs_batch_id,
        windows_with_news._cdn_batch_id
    from windows_with_news
    cross join rules
    left outer join judgements
        on
            windows_with_news.window_start = judgements.window_start
            and rules.rule = judgements.rule

)

select * from alert_judgements
