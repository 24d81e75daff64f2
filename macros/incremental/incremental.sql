{#- The merge strategy as this project needs it, in place of dbt-spark's:

    * the batch is computed once and cached: its row count and key range cost no second run
    * an empty batch sends no MERGE, so the table keeps its version
    * the target is pruned by the batch's own smallest and largest key (`prune_by`)
    * the temporary view carries the schema in its name, so that two models with one alias
      cannot swap rows (tests/adapter/test_duplicate_alias.py) -#}
{%- materialization incremental, adapter='spark' -%}
    {%- set target = this.incorporate(type='table') -%}
    {{- run_hooks(pre_hooks) -}}
    {%- do build_or_merge(load_relation(this), target, compiled_code) -%}
    {{- run_hooks(post_hooks) -}}
    {{- return({'relations': [target]}) -}}
{%- endmaterialization -%}
