{#- The query of a model of judgements: of each window of five minutes and rule of a domain the
    cohorts that break the rule. A window is judged when it changes, by what was usual then: no
    median that a late row moves makes or unmakes an alert of days ago.

    figures: the view that sets values beside what they are held against; references: which of its
    columns a rule's `reference` means. left_windows: a query of the windows that may have changed
    without a new batch, as what was in them moved away, and is_near_left_windows, the condition on
    windows near them; none where nothing moves. metrics: of the rules those about these; none:
    all. -#}
{%- macro judged_windows(
    name, domain, windows, figures, references, batches,
    left_windows=none, is_near_left_windows=none, metrics=none
) -%}
{%- set is_near_any_news -%}
{{ is_near_news_of_any(windows, 'window_start', 0, batches) }}
        {%- if left_windows %}
        or {{ is_near_left_windows }}
        {%- endif %}
{%- endset -%}
with

rules as (

    select *
    from {{ ref('alert_rules') }}
    where
        domain = '{{ domain }}'
        {%- if metrics %}
        and metric in ('{{ metrics | join("', '") }}')
        {%- endif %}

),

windows as (

    select
        window_start,
        max(newest_arrival_at) as newest_arrival_at,
        {%- for batch in batches %}
        max({{ batch }}) as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref(windows) }}
    where
        {{ is_near_any_news }}
    group by window_start

),

{% if left_windows -%}
left_windows as (

    {{ left_windows }}

),

{% endif -%}

windows_with_news as (

    select *
    from windows
    where
        {{ is_any_new(batches) }}
    {%- if left_windows %}

    union distinct

    select windows.*
    from windows
    left semi join left_windows
        on windows.window_start = left_windows.window_start
    {%- endif %}

),

figures as (

    select *
    from {{ ref(figures) }}
    where
        {{ is_near_any_news }}

),

figures_to_judge as (

    select
        figures.window_start,
        figures.cohort,
        figures.value,
        figures.sample,
        figures.impacted,
        {{ 'figures.deviation' if 'baseline' in references else 'cast(null as double)' }}
            as deviation,
        rules.rule,
        rules.direction,
        rules.bound,
        rules.reference,
        rules.factor,
        rules.margin,
        rules.deviations,
        case rules.reference
            {%- for reference, column in references.items() %}
            when '{{ reference }}' then figures.{{ column }}
            {%- endfor %}
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

{{ name }} as (

    select
        windows_with_news.window_start,
        rules.rule,
        coalesce(judgements.cohorts, 0) as cohorts,
        coalesce(judgements.breaches, array()) as breaches,
        windows_with_news.newest_arrival_at,
        {%- for batch in batches %}
        windows_with_news.{{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from windows_with_news
    cross join rules
    left outer join judgements
        on
            windows_with_news.window_start = judgements.window_start
            and rules.rule = judgements.rule
    {%- if left_windows and is_incremental() %}

    union all

    -- the window alone: nothing may be left in it
    select
        window_start,
        null as rule,
        null as cohorts,
        null as breaches,
        null as newest_arrival_at,
        {%- for batch in batches %}
        null as {{ batch }}{{ ',' if not loop.last }}
        {%- endfor %}
    from left_windows
    {%- endif %}

)

select * from {{ name }}
{%- endmacro -%}
