{#- One row per alert: a rule that a cohort breaks, from the first window of it to the last. A view:
    the state of an alert is what its windows say. -#}
{{ config(materialized = 'view') }}
{{ alerts_of('game_alerts', judgements = ['game_judgements']) }}
