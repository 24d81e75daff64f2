{#- Guards against a rule that is never told: what explains a rule is another one of its domain, and
    is not explained by it in turn. -#}
with

rules as (

    select
        domain,
        rule,
        explained_by
    from {{ ref('alert_rules') }}

),

explanations as (

    select
        domain,
        rule,
        explode(split(explained_by, ' ')) as cause
    from rules
    where explained_by <> 'none'

),

alert_rules_are_explained_by_rules as (

    select
        explanations.rule,
        explanations.cause,
        rules.rule is null as is_unknown
    from explanations
    left outer join rules
        on
            explanations.domain = rules.domain
            and explanations.cause = rules.rule
    where
        rules.rule is null
        or array_contains(split(rules.explained_by, ' '), explanations.rule)

)

select * from alert_rules_are_explained_by_rules
